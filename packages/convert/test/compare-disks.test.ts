import { Qcow2Error } from "@qcow2/core";
import { ALLOCATED, content, type DiskOperation, MemoryDisk, UNALLOCATED } from "@qcow2/testing";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compareDisks } from "../src/index.ts";

const K = 1024;
const M = K * K;
const identical = { identical: true };

function diskWith(
  size: number,
  ranges: readonly (readonly [number, number])[],
  before: (operation: DiskOperation) => void | Promise<void> = () => {},
): MemoryDisk {
  const disk = new MemoryDisk({ size, before, name: `disk of ${size}` });
  for (const [offset, length] of ranges) {
    disk.bytes.set(content({ kind: "stamps", seed: 7, length, offset }), offset);
    disk.setState(offset, length, ALLOCATED);
  }
  return disk;
}

describe("compareDisks", () => {
  it("finds equal content equal, however it is stored, and reads nothing that both know to be zero", async () => {
    const first = diskWith(4 * M, [[M, 64 * K]]);
    const second = diskWith(4 * M, [[M, 64 * K]]);
    second.setState(M + 64 * K, 64 * K, ALLOCATED);
    expect(await compareDisks({ first, second })).toEqual(identical);
    expect(first.operations).toEqual([{ kind: "read", offset: M, length: 64 * K }]);
    expect(second.operations.reduce((sum, { length }) => sum + length, 0)).toBe(128 * K);
  });

  it("names the first sector that differs", async () => {
    const first = diskWith(4 * M, [[0, 4 * M]]);
    const second = diskWith(4 * M, [[0, 4 * M]]);
    second.bytes[3 * M + 5] = 0xff;
    second.bytes[M + 1025] = 0xff;
    const differs = { identical: false, reason: "content", offset: M + 1024 };
    expect(await compareDisks({ first, second })).toEqual(differs);
    expect(await compareDisks({ first: second, second: first })).toEqual(differs);
  });

  it("names data that is zero on the other side", async () => {
    const first = diskWith(M, []);
    const second = diskWith(M, [[512 * K, 64 * K]]);
    second.bytes.fill(0, 512 * K, 520 * K);
    const differs = { identical: false, reason: "content", offset: 520 * K };
    expect(await compareDisks({ first, second })).toEqual(differs);
    expect(await compareDisks({ first: second, second: first })).toEqual(differs);
    expect(first.operations).toEqual([]);
  });

  it("asks the rest of a larger disk to be zero", async () => {
    const first = diskWith(M, [[0, M]]);
    const larger = diskWith(2 * M + 512, [[0, M]]);
    expect(await compareDisks({ first, second: larger })).toEqual(identical);
    larger.setState(M, 64 * K, ALLOCATED);
    expect(await compareDisks({ first, second: larger })).toEqual(identical);
    larger.setState(2 * M, 512, ALLOCATED);
    larger.bytes[2 * M + 511] = 1;
    const differs = { identical: false, reason: "content", offset: 2 * M };
    expect(await compareDisks({ first, second: larger })).toEqual(differs);
    expect(await compareDisks({ first: larger, second: first })).toEqual(differs);
  });

  it("is strict about sizes and about what is stored", async () => {
    const first = diskWith(M, [[0, 4 * K]]);
    expect(await compareDisks({ first, second: diskWith(M + 512, [[0, 4 * K]]), strict: true })).toEqual({
      identical: false,
      reason: "size",
      offset: 0,
    });
    const second = diskWith(M, [[0, 4 * K]]);
    expect(await compareDisks({ first, second, strict: true })).toEqual(identical);
    second.setState(8 * K, 4 * K, { ...UNALLOCATED, present: true });
    expect(await compareDisks({ first, second })).toEqual(identical);
    expect(await compareDisks({ first, second, strict: true })).toEqual({
      identical: false,
      reason: "allocation",
      offset: 8 * K,
    });
    second.bytes[0] = 99;
    expect(await compareDisks({ first, second, strict: true })).toMatchObject({
      reason: "content",
      offset: 0,
    });
  });

  it("says which disk could not be read, and where, unless a difference comes first", async () => {
    const failing = diskWith(2 * M, [[0, 2 * M]], ({ kind, offset }) => {
      if (kind === "read" && offset === M)
        throw new Qcow2Error("decompress-failed", "bad", { guestOffset: M });
    });
    const sound = diskWith(2 * M, [[0, 2 * M]]);
    await expect(compareDisks({ first: sound, second: failing })).rejects.toMatchObject({
      code: "io",
      data: { operation: "read", name: failing.name, offset: M },
      cause: { code: "decompress-failed" },
    });
    sound.bytes[100] = 99;
    expect(await compareDisks({ first: sound, second: failing })).toMatchObject({
      reason: "content",
      offset: 0,
    });
    expect(failing.running + sound.running).toBe(0);
  });

  it("says whose map failed", async () => {
    const error = new Qcow2Error("io", "EIO", { operation: "read", name: "x" });
    const failing = diskWith(2 * M, [[0, M]], ({ kind, offset }) => {
      if (kind === "map" && offset === M) throw error;
    });
    const options = { first: diskWith(2 * M, [[0, M]]), second: failing };
    await expect(compareDisks(options)).rejects.toMatchObject({
      data: { operation: "map", offset: M },
      cause: error,
    });
  });

  it("passes on what is a bug and not damage", async () => {
    const broken = diskWith(M, [[0, M]], ({ kind }) => {
      if (kind === "read") throw new TypeError("bug");
    });
    await expect(compareDisks({ first: broken, second: diskWith(M, []) })).rejects.toThrow(TypeError);
  });

  it("stops at an abort", async () => {
    const wait = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));
    const [first, second] = [diskWith(4 * M, [[0, 4 * M]], wait), diskWith(4 * M, [[0, 4 * M]], wait)];
    const controller = new AbortController();
    const reason = new Error("enough");
    setTimeout(() => controller.abort(reason), 12);
    const options = { first, second, chunkBytes: 4 * K, parallel: 2, signal: controller.signal };
    await expect(compareDisks(options)).rejects.toBe(reason);
    expect(first.running + second.running).toBe(0);
  });

  it("reports progress up to the larger size", async () => {
    const seen: number[] = [];
    const [first, second] = [diskWith(M, [[0, 64 * K]]), diskWith(2 * M, [[0, 64 * K]])];
    await compareDisks({ first, second, onProgress: (done) => seen.push(done) });
    expect(seen.at(-1)).toBe(2 * M);
  });

  it("agrees with comparing byte by byte, whatever the maps and the options", async () => {
    const sectors = 200;
    const mark = fc.record({
      start: fc.nat(sectors),
      count: fc.integer({ min: 1, max: 50 }),
      side: fc.constantFrom("first", "second", "both"),
      isData: fc.boolean(),
      value: fc.nat(1),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.tuple(fc.nat(sectors), fc.nat(sectors)),
        fc.array(mark, { maxLength: 10 }),
        fc.record({
          parallel: fc.integer({ min: 1, max: 6 }),
          chunkBytes: fc.constantFrom(512, 3072, 65536),
        }),
        async (sizes, marks, options) => {
          const [first, second] = sizes.map((count) => new MemoryDisk({ size: count * 512 })) as [
            MemoryDisk,
            MemoryDisk,
          ];
          for (const { start, count, side, isData, value } of marks) {
            for (const [name, disk] of [
              ["first", first],
              ["second", second],
            ] as const) {
              if (side !== "both" && side !== name) continue;
              const length = Math.min(count * 512, disk.size - start * 512);
              if (length <= 0) continue;
              disk.setState(start * 512, length, isData ? ALLOCATED : UNALLOCATED);
              disk.bytes.fill(0, start * 512, start * 512 + length);
              if (isData && value) disk.bytes[start * 512 + length - 1] = value;
            }
          }
          let expected: number | undefined;
          for (let at = Math.max(first.size, second.size) - 1; at >= 0; at--) {
            if ((first.bytes[at] ?? 0) !== (second.bytes[at] ?? 0)) expected = at - (at % 512);
          }
          expect(await compareDisks({ first, second, ...options })).toEqual(
            expected === undefined ? identical : { identical: false, reason: "content", offset: expected },
          );
        },
      ),
      { numRuns: 300 },
    );
  });
});
