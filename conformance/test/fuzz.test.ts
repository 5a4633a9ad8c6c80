/** Broken images: a bounded number of them by seed, and every one that was ever found. */
import { FuzzFind } from "@qcow2/testing/fuzz";
import { expect, it } from "vitest";
import { createRunner } from "../src/fuzz/create-runner.ts";
import { runWorkers } from "../src/fuzz/run-workers.ts";
import { savedFinds } from "../src/fuzz/saved-finds.ts";
import { Workbench } from "../src/workbench.ts";

const SEED = 1;
const IMAGES = 3000;

/** All oracles but QEMU's opinion, which takes longer than all the rest: the long run asks it. */
const HELD: ReadonlySet<string> = new Set([
  "typed-error",
  "bounded-work",
  "bounded-memory",
  "bounded-growth",
  "read-only",
  "map",
  "content",
  "repair-content",
  "repair-clean",
]);

it(`do not show what no image may show, ${IMAGES} of them`, { timeout: 900_000 }, async () => {
  const finds: string[] = [];
  const figures = await runWorkers({
    seed: SEED,
    images: IMAGES,
    processes: 1,
    qemu: 0,
    minimises: false,
    onFind: ({ oracle, index, error }) => {
      if (HELD.has(oracle)) finds.push(`image ${index}: ${error}`);
    },
  });
  console.log(`fuzz: seed ${SEED}: ${[...figures].map(([name, times]) => `${times} ${name}`).join(", ")}`);
  expect(finds).toEqual([]);
  expect(figures.get("images")).toBe(IMAGES);
});

const finds = savedFinds();

it(`were found ${finds.length} times, and are read`, () => {
  for (const { file, saved } of finds) expect(saved.drawn.breaks, file).toBeInstanceOf(Array);
});

it.each(finds)("$file", async ({ saved }) => {
  using bench = new Workbench("fuzz");
  const runner = await createRunner(new Map(), bench);
  try {
    await runner.run(saved.drawn);
  } catch (error) {
    if (!(error instanceof FuzzFind) || HELD.has(error.oracle)) throw error;
  }
});
