/** `npm run fuzz -w @qcow2/conformance`: see `HELP`. */
import { basename } from "node:path";
import { readCommandLine } from "../command-line.ts";
import { Workbench } from "../workbench.ts";
import { createRunner } from "./create-runner.ts";
import { runWorkers } from "./run-workers.ts";
import { readFind, SAVED_FINDS, saveFind } from "./saved-finds.ts";

const HELP = `Usage: npm run fuzz -w @qcow2/conformance -- [options]

Breaks valid images of every shape in one to five places, does everything with them that can be done, and holds the
answers against what must never happen: errors that are none of ours, work and memory out of proportion to the file,
data that is lost or changed. Ends with 1 if anything was found; finds are made small and saved.

  --seed N        the first number of the random source (default: another each time; it is printed)
  --images N      how many images (default 3000)
  --from N        the index of the first image (default 0)
  --minutes M     as many images as fit into that time, instead of a number
  --qemu N        let QEMU judge one image in N, and make one shape in six; 1 for all, 0 (default) for none
  --processes N   processes at a time (default 1)
  --save FOLDER   where finds are saved (default conformance/cases/fuzz)
  --replay FILE   run a saved find again, and nothing else; also several
  --help          this text`;

/** Milliseconds between two lines that tell how far it is. */
const REPORT_MS = 60_000;

const { values, positionals } = readCommandLine({
  help: HELP,
  allowPositionals: true,
  options: {
    seed: { type: "string" },
    images: { type: "string" },
    from: { type: "string", default: "0" },
    minutes: { type: "string" },
    processes: { type: "string", default: "1" },
    qemu: { type: "string", default: "0" },
    save: { type: "string", default: SAVED_FINDS },
    replay: { type: "boolean", default: false },
  },
});
process.exitCode = await main();

async function main(): Promise<number> {
  if (values.replay) return await replay(positionals);
  const numbers = {
    seed: values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed),
    images: values.images === undefined ? 3000 : Number(values.images),
    from: Number(values.from),
    processes: Number(values.processes),
    qemu: Number(values.qemu),
  };
  if (
    positionals.length > 0 ||
    Object.values(numbers).some((value) => !Number.isSafeInteger(value) || value < 0)
  ) {
    console.error(HELP);
    return 1;
  }
  return await fuzz(numbers);
}

async function fuzz(numbers: {
  readonly seed: number;
  readonly images: number;
  readonly from: number;
  readonly processes: number;
  readonly qemu: number;
}): Promise<number> {
  const { minutes } = values;
  const until = minutes === undefined ? undefined : Date.now() + Number(minutes) * 60_000;
  const images = until === undefined ? numbers.images : undefined;
  console.log(`seed ${numbers.seed}, ${images === undefined ? `${minutes} minutes` : `${images} images`}`);
  const began = Date.now();
  const kinds = new Map<string, number>();
  let nextReport = began + REPORT_MS;
  const figures = await runWorkers({
    ...numbers,
    images,
    until,
    onProgress: (done) => {
      if (Date.now() < nextReport) return;
      nextReport = Date.now() + REPORT_MS;
      console.error(`${done} images, ${kinds.size} kinds of finds, ${minutesSince(began)} min`);
    },
    onFind: (find, { isNew, signature }) => {
      kinds.set(signature, (kinds.get(signature) ?? 0) + 1);
      if (isNew)
        console.error(`image ${find.index}: ${find.error}\nsaved as ${saveFind(find, values.save)}\n`);
    },
  });
  for (const [name, times] of [...figures].sort()) console.log(`${String(times).padStart(10)} ${name}`);
  const seconds = (Date.now() - began) / 1000;
  console.log(`${seconds.toFixed(0)} s with ${numbers.processes} processes`);
  for (const [signature, times] of [...kinds].sort((first, second) => second[1] - first[1])) {
    console.log(`found ${times} times: ${signature}`);
  }
  console.log(kinds.size === 0 ? "nothing was found" : `${kinds.size} kinds of finds`);
  return kinds.size === 0 ? 0 : 1;
}

async function replay(files: readonly string[]): Promise<number> {
  using bench = new Workbench("fuzz");
  let failed = 0;
  for (const file of files) {
    const runner = await createRunner(new Map(), bench);
    try {
      await runner.run(readFind(file).drawn, { isJudged: values.qemu !== "0" });
      console.log(`${basename(file)}: passes`);
    } catch (error) {
      failed++;
      console.log(`${basename(file)}: ${(error as Error).message}\n`);
    }
  }
  return failed === 0 ? 0 : 1;
}

function minutesSince(began: number): string {
  return ((Date.now() - began) / 60_000).toFixed(0);
}
