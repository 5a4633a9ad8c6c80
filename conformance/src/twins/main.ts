/** `npm run mirror -w @qcow2/conformance`: see `HELP`. */
import { readCommandLine } from "../command-line.ts";
import { closeCodecs, codecs } from "../property/properties.ts";
import { findQemuReleases, REFERENCE_MINOR } from "../qemu-release.ts";
import { missingFor } from "../requirement.ts";
import { Workbench } from "../workbench.ts";
import { runTwins } from "./run-twins.ts";
import { TWIN_SHAPES } from "./twin-shapes.ts";

const HELP = `Usage: npm run mirror -w @qcow2/conformance -- [options]

Random requests to every shape of image, through qemu-io and through our engine. Ends with 1 at the first difference.

  --operations N  requests to each shape (default 10000)
  --seed N        the first number of the random source (default 1)
  --only WORDS    shapes whose names contain this
  --help          this text`;

const { values } = readCommandLine({
  help: HELP,
  options: {
    operations: { type: "string", default: "10000" },
    seed: { type: "string", default: "1" },
    only: { type: "string", default: "" },
  },
});
process.exitCode = await main(Number(values.operations), Number(values.seed));

async function main(operations: number, seed: number): Promise<number> {
  const missing = await missingFor({});
  if (missing !== undefined || !(operations > 0) || !Number.isSafeInteger(seed)) {
    console.error(missing ?? "--operations and --seed are numbers");
    return 1;
  }
  const qemu = (await findQemuReleases()).find(({ minor }) => minor === REFERENCE_MINOR)!;
  console.log(`seed ${seed}, ${operations} requests for each shape, QEMU ${qemu.version}`);
  try {
    for (const shape of TWIN_SHAPES.filter(({ name }) => name.includes(values.only))) {
      using bench = new Workbench("twins");
      const started = Date.now();
      const done = await runTwins({ shape, operations, seed, qemu, codecs: codecs(), folder: bench.folder });
      const seconds = ((Date.now() - started) / 1000).toFixed(0);
      console.log(`equal and clean: ${shape.name} (${done} requests, ${seconds} s)`);
    }
    return 0;
  } catch (error) {
    console.error((error as Error).message);
    return 1;
  } finally {
    await closeCodecs();
  }
}
