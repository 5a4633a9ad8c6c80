import { resolve } from "node:path";

/** The repository's top folder; this file is in conformance/src or conformance/dist. */
export const REPOSITORY: string = resolve(import.meta.dirname, "../..");

/** Failing cases are saved here, and all that is here is replayed. */
export const SAVED_CASES: string = resolve(REPOSITORY, "conformance/cases");

/** Where `scripts/install-qemu.mjs` puts QEMU's tools. */
export const QEMU_CACHE: string = process.env.QCOW2_CONFORMANCE_CACHE ?? resolve(REPOSITORY, ".cache/qemu");
