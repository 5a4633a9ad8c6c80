/** The same requests through qemu-io and through our engine: equal contents, and each goes on from the other's image. */
import { afterAll, expect, it } from "vitest";
import { caseRan } from "../src/case-log.ts";
import { closeCodecs, codecs } from "../src/property/properties.ts";
import { describeConformance } from "../src/requires.ts";
import { runTwins } from "../src/twins/run-twins.ts";
import { TWIN_SHAPES } from "../src/twins/twin-shapes.ts";
import { Workbench } from "../src/workbench.ts";

const GROUP = "twins: the same requests through qemu-io and our engine";
const SEED = 7;
const OPERATIONS = 120;

await describeConformance(GROUP, {}, ({ reference: qemu }) => {
  afterAll(closeCodecs);

  it.concurrent.each(TWIN_SHAPES)("$name", async (shape) => {
    using bench = new Workbench("twins");
    const options = {
      shape,
      operations: OPERATIONS,
      seed: SEED,
      qemu,
      codecs: codecs(),
      folder: bench.folder,
    };
    expect(await runTwins(options)).toBeGreaterThan(OPERATIONS / 2);
    caseRan(GROUP, qemu.version);
  });
});
