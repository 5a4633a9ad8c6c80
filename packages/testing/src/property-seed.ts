/**
 * Setup file of every test project: properties draw the same values in each run, so that a red run is red again.
 * `QCOW2_SEED=<integer>` draws others; a property that fails prints its seed.
 */
import fc from "fast-check";

fc.configureGlobal({ seed: Number(process.env.QCOW2_SEED ?? 1) });
