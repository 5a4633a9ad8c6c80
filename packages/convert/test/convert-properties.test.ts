/** Any content, any holes, any options, faults anywhere. A failing run prints its seed and path; fast-check replays it. */
import { Qcow2Error } from "@qcow2/core";
import { ALLOCATED, content, type DiskOperation, MemoryDisk } from "@qcow2/testing";
import { expectBytes } from "@qcow2/testing/suites";
import fc from "fast-check";
import { expect, it } from "vitest";
import { convertDisk } from "../src/index.ts";

const MAX_SECTORS = 600;

const drawnRanges = fc.array(
  fc.record({
    start: fc.nat(MAX_SECTORS),
    sectors: fc.integer({ min: 1, max: 120 }),
    kind: fc.constantFrom("random" as const, "mixed" as const, "zeroes" as const, "stamps" as const),
    isHole: fc.boolean(),
    seed: fc.nat(0xffff),
  }),
  { maxLength: 12 },
);
const drawnDisk = fc.record({ sizeBytes: fc.nat(MAX_SECTORS * 512), ranges: drawnRanges });
const drawnOptions = fc.record({
  sparseBytes: fc.constantFrom(0, 512, 4096, 4096, 12288, 65536),
  parallel: fc.integer({ min: 1, max: 9 }),
  chunkBytes: fc.constantFrom(512, 4096, 20480, 65536, 2 ** 21),
  clusterSize: fc.constantFrom(512, 4096, 65536),
  outOfOrder: fc.boolean(),
  compress: fc.boolean(),
  salvage: fc.boolean(),
  targetIsZero: fc.boolean(),
  extraBytes: fc.constantFrom(0, 512, 70000),
});
const drawnTiming = fc.infiniteStream(fc.nat(4));

type Before = (operation: DiskOperation) => Promise<void>;

function diskOf(
  {
    sizeBytes,
    ranges,
  }: { sizeBytes: number; ranges: typeof drawnRanges extends fc.Arbitrary<infer R> ? R : never },
  before: Before,
): MemoryDisk {
  const disk = new MemoryDisk({ size: sizeBytes, name: "source", before });
  for (const { start, sectors, kind, isHole, seed } of ranges) {
    const offset = start * 512;
    const length = Math.min(sectors * 512, sizeBytes - offset);
    if (length <= 0) continue;
    if (isHole) disk.bytes.fill(0, offset, offset + length);
    else disk.bytes.set(content({ kind, seed, length, offset }), offset);
    // A range is data where anything was written; overlapping holes keep it data with zeroes in it.
    if (!isHole) disk.setState(offset, length, { ...ALLOCATED });
  }
  return disk;
}

function delays(stream: Iterator<number>): Before {
  return async () => {
    for (let turns = stream.next().value as number; turns > 0; turns--) await Promise.resolve();
  };
}

it("copies any content with any options", async () => {
  await fc.assert(
    fc.asyncProperty(drawnDisk, drawnOptions, drawnTiming, async (drawn, drawnOpts, timing) => {
      const before = delays(timing[Symbol.iterator]());
      const { extraBytes, ...options } = drawnOpts;
      const source = diskOf(drawn, before);
      const size = source.size + extraBytes;
      const fill = options.targetIsZero ? {} : { fill: 0xee };
      const target = new MemoryDisk({ size, before, ...fill });
      const result = await convertDisk({ source, target, ...options });
      expectBytes(target.bytes.subarray(0, source.size), source.bytes);
      const rest = target.bytes.subarray(source.size);
      expect(rest.every((byte) => byte === (options.targetIsZero ? 0 : 0xee))).toBe(true);
      expect(source.mostRunning).toBeLessThanOrEqual(options.parallel);
      if (options.sparseBytes === 0) expect(result.bytesWritten).toBe(source.size);
      if (!options.outOfOrder) {
        const offsets = target.operations.map(({ offset }) => offset);
        expect(offsets).toEqual(offsets.toSorted((a, b) => a - b));
      }
    }),
    { numRuns: 300 },
  );
});

// The runner fails the run for a rejection that nobody handles.
it("rejects with the fault, whichever operation fails, and leaves nothing running or unhandled", async () => {
  await fc.assert(
    fc.asyncProperty(
      drawnDisk,
      drawnOptions,
      drawnTiming,
      fc.nat(40),
      async (drawn, drawnOpts, timing, failAt) => {
        let operations = 0;
        const delay = delays(timing[Symbol.iterator]());
        const before: Before = async (operation) => {
          const isFault = operations++ === failAt;
          await delay(operation);
          if (isFault) throw new Qcow2Error("closed", "injected", { name: "fault" });
        };
        const { extraBytes, ...options } = drawnOpts;
        const source = diskOf(drawn, before);
        const fill = options.targetIsZero ? {} : { fill: 0xee };
        const target = new MemoryDisk({ size: source.size + extraBytes, before, ...fill });
        const outcome = await convertDisk({ source, target, ...options }).then(
          () => "done",
          (error: Error) => error.message,
        );
        expect(outcome).toBe(operations > failAt ? "injected" : "done");
        expect(source.running + target.running).toBe(0);
        if (outcome === "done") expectBytes(target.bytes.subarray(0, source.size), source.bytes);
      },
    ),
    { numRuns: 300 },
  );
});
