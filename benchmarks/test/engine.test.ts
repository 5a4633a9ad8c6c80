import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Random } from "../src/disk/random.ts";
import { engineRow, isAboveLimit, replaceEngineResults, verdictOf } from "../src/engine/engine-report.ts";
import type { EngineCaseResult } from "../src/engine/engine-results.ts";
import { drawOffsets } from "../src/engine/io-sequence.ts";
import { runEngineBenchmark } from "../src/engine/run-engine-benchmark.ts";
import { REPOSITORY } from "../src/repository.ts";

const MIB = 2 ** 20;

const CASE: EngineCaseResult = {
  subject: "allocated",
  request: "read",
  order: "random",
  bytes: 4096,
  depth: 16,
  requests: 1000,
  rawSeconds: [0.01, 0.02, 0.01],
  engineSeconds: [0.011, 0.04, 0.012],
};

test("a ratio is that of one round, not of the medians", () => {
  expect(engineRow(CASE)).toEqual([
    "allocated image, random 4 KiB read, depth 16",
    "10.0 µs",
    "12.0 µs",
    "1.20",
    "1.10 to 2.00",
    "no",
  ]);
});

test("only allocated images have a limit", () => {
  expect(isAboveLimit(CASE)).toBe(true);
  expect(isAboveLimit({ ...CASE, subject: "overlay" })).toBe(false);
  expect(isAboveLimit({ ...CASE, engineSeconds: CASE.rawSeconds })).toBe(false);
  expect(verdictOf([CASE, { ...CASE, engineSeconds: CASE.rawSeconds }])).toContain("1 of 2 cases");
  expect(verdictOf([CASE])).toContain("Not: allocated image, random 4 KiB read, depth 16 (1.20)");
});

test("the requests of a round lie within the disk and do not overlap", () => {
  fc.assert(
    fc.property(
      fc.constantFrom("sequential", "random"),
      fc.constantFrom(4096, 65536),
      fc.integer({ min: 1, max: 64 }),
      fc.nat(),
      (order, bytes, requests, seed) => {
        const disk = { sizeBytes: 4 * MIB, clusterBytes: 65536 };
        const offsets = drawOffsets({ order, bytes }, disk, requests, new Random(seed, ""));
        expect(offsets).toHaveLength(requests);
        const sorted = offsets.toSorted((first, second) => first - second);
        sorted.forEach((offset, index) => {
          expect(offset % bytes).toBe(0);
          expect(offset + bytes).toBeLessThanOrEqual(sorted[index + 1] ?? disk.sizeBytes);
        });
        expect(drawOffsets({ order, bytes }, disk, requests, new Random(seed, ""))).toEqual(offsets);
      },
    ),
  );
});

test("a case runs, its disks are removed, and its row reaches the document", async () => {
  const folder = await mkdtemp(join(tmpdir(), "qcow2-engine-test-"));
  try {
    const only = "through a backing file, random 4 KiB read, depth 16";
    const results = await runEngineBenchmark({ rounds: 2, sizeBytes: 64 * MIB, seed: 1, folder, only });
    expect(results.cases.map(({ rawSeconds }) => rawSeconds.length)).toEqual([2]);
    expect(await readdir(folder)).toEqual([]);
    const document = await readFile(join(REPOSITORY, "BENCHMARKS.md"), "utf8");
    const updated = replaceEngineResults(document, results);
    expect(updated).toContain(`| ${only} |`);
    expect(updated).toContain("| 64 KiB aligned write to a new cluster | none | 1 (64.0 KiB) |");
    expect(replaceEngineResults(updated, results)).toBe(updated);
  } finally {
    await rm(folder, { recursive: true });
  }
});
