import { Qcow2Error } from "@qcow2/core";
import { ALLOCATED, content, type DiskOperation, MemoryDisk, UNALLOCATED } from "@qcow2/testing";
import { expectBytes } from "@qcow2/testing/suites";
import { describe, expect, it } from "vitest";
import { type ConvertOptions, convertDisk } from "../src/index.ts";

const K = 1024;
const M = K * K;

/** A source with random content in the given ranges, and nothing elsewhere. */
function sourceWith(
  size: number,
  ranges: readonly (readonly [number, number])[],
  before?: Before,
): MemoryDisk {
  const disk = new MemoryDisk({ size, name: "source", ...(before ? { before } : {}) });
  for (const [offset, length] of ranges) {
    disk.bytes.set(content({ kind: "stamps", seed: 7, length, offset }), offset);
    disk.setState(offset, length, ALLOCATED);
  }
  return disk;
}

type Before = (operation: DiskOperation) => void | Promise<void>;

/** Lets other work go first for as many turns of the event loop as the operation's offset suggests. */
const jitter: Before = async ({ offset }) => {
  for (let turns = ((offset / 512) * 2654435761) % 7; turns > 0; turns--)
    await new Promise((resolve) => setTimeout(resolve));
};

const kindsAndOffsets = (disk: MemoryDisk): string[] =>
  disk.operations.map(({ kind, offset, length }) => `${kind} ${offset / K}K ${length / K}K`);

describe("convertDisk", () => {
  it("never reads what the map knows to be zero, nor writes it to a target that is zero", async () => {
    const source = sourceWith(8 * M, [[M, 64 * K]]);
    const target = new MemoryDisk({ size: 8 * M });
    const result = await convertDisk({ source, target, targetIsZero: true });
    expect(kindsAndOffsets(source)).toEqual(["read 1024K 64K"]);
    expect(kindsAndOffsets(target)).toEqual(["write 1024K 64K"]);
    expectBytes(target.bytes, source.bytes);
    expect(result).toEqual({ bytesRead: 65536, bytesWritten: 65536, bytesZeroed: 0, bytesUnreadable: 0 });
  });

  it("overwrites an old target with zeroes where the source has none of its data", async () => {
    const source = sourceWith(M, [[0, 4 * K]]);
    source.setState(512 * K, 64 * K, ALLOCATED);
    const target = new MemoryDisk({ size: 2 * M, fill: 0xee });
    await convertDisk({ source, target, targetIsZero: false });
    expectBytes(target.bytes.subarray(0, M), source.bytes);
    expect(target.bytes.subarray(M).every((byte) => byte === 0xee)).toBe(true);
    expect(kindsAndOffsets(target)).toEqual([
      "write 0K 4K",
      "writeZeroes 4K 508K",
      "writeZeroes 512K 64K",
      "writeZeroes 576K 448K",
    ]);
  });

  it("writes everything with sparseBytes 0, holes and zeroes alike", async () => {
    const source = sourceWith(M, [[0, 4 * K]]);
    const target = new MemoryDisk({ size: M });
    const result = await convertDisk({
      source,
      target,
      targetIsZero: true,
      sparseBytes: 0,
      chunkBytes: 256 * K,
    });
    expect(result.bytesWritten).toBe(M);
    expect(result.bytesRead).toBe(4 * K);
    expect(target.operations.every(({ kind }) => kind === "write")).toBe(true);
  });

  it("finds zeroes in data, as coarsely as it is told", async () => {
    const source = sourceWith(M, [[0, M]]);
    source.bytes.fill(0, 64 * K, 72 * K);
    const fine = new MemoryDisk({ size: M });
    expect((await convertDisk({ source, target: fine, targetIsZero: true })).bytesWritten).toBe(M - 8 * K);
    const coarse = new MemoryDisk({ size: M });
    const options = { source, target: coarse, targetIsZero: true, sparseBytes: 64 * K };
    expect((await convertDisk(options)).bytesWritten).toBe(M);
    expectBytes(fine.bytes, source.bytes);
    expectBytes(coarse.bytes, source.bytes);
  });

  it("writes whole clusters, so that the target has nothing to fill up", async () => {
    const source = sourceWith(M, [
      [20 * K, 8 * K],
      [300 * K, 100 * K],
    ]);
    const target = new MemoryDisk({ size: M });
    await convertDisk({ source, target, targetIsZero: true, clusterSize: 64 * K });
    expect(kindsAndOffsets(target)).toEqual(["write 0K 64K", "write 256K 192K"]);
    expectBytes(target.bytes, source.bytes);
  });

  it("begins to write in the order of the disk although reads end in any order, and waits for no write", async () => {
    const source = sourceWith(4 * M, [[0, 4 * M]], jitter);
    const target = new MemoryDisk({ size: 4 * M, before: jitter });
    await convertDisk({ source, target, targetIsZero: true, chunkBytes: 64 * K, parallel: 5 });
    const offsets = target.operations.map(({ offset }) => offset);
    expect(offsets).toEqual(offsets.toSorted((a, b) => a - b));
    expect(target.mostRunning).toBeGreaterThan(1);
    expect(source.mostRunning).toBe(5);
    expectBytes(target.bytes, source.bytes);
  });

  it("writes out of order where that is allowed", async () => {
    const source = sourceWith(4 * M, [[0, 4 * M]], jitter);
    const target = new MemoryDisk({ size: 4 * M, before: jitter });
    const options = { chunkBytes: 64 * K, parallel: 5, outOfOrder: true };
    await convertDisk({ source, target, targetIsZero: true, ...options });
    expect(target.mostRunning).toBeGreaterThan(1);
    expectBytes(target.bytes, source.bytes);
  });

  it("hands whole clusters to the compressor, many at a time, in order, without those that are zero", async () => {
    const size = 2 * M + 5 * K;
    const source = sourceWith(size, [[10 * K, 2 * M - 5 * K]], jitter);
    source.bytes.fill(0, 128 * K, 192 * K);
    source.setState(M, 64 * K, UNALLOCATED);
    source.bytes.fill(0, M, M + 64 * K);
    const target = new MemoryDisk({ size, before: jitter });
    await convertDisk({
      source,
      target,
      targetIsZero: true,
      compress: true,
      clusterSize: 64 * K,
      chunkBytes: 256 * K,
    });
    const clusters = target.operations.flatMap(({ offset, length }) =>
      Array.from({ length: Math.ceil(length / (64 * K)) }, (_, index) => offset / (64 * K) + index),
    );
    expect(clusters).toEqual([...Array(33).keys()].filter((cluster) => cluster !== 2 && cluster !== 16));
    expect(target.operations.map(({ offset }) => offset / (64 * K))).toEqual([
      0, 3, 4, 8, 12, 17, 20, 24, 28, 32,
    ]);
    expect(target.operations.every(({ kind }) => kind === "writeCompressed")).toBe(true);
    expect(target.operations.at(-1)?.length).toBe(5 * K);
    expect(target.mostRunning).toBeGreaterThan(1);
    expectBytes(target.bytes, source.bytes);
  });

  it("does not touch the rest of a cluster that the source only begins", async () => {
    const source = sourceWith(65 * K, [[0, 65 * K]]);
    const target = new MemoryDisk({ size: 256 * K, fill: 0xee });
    await convertDisk({ source, target, targetIsZero: false, compress: true, clusterSize: 64 * K });
    expect(kindsAndOffsets(target)).toEqual(["writeCompressed 0K 64K", "write 64K 1K"]);
    expect(target.bytes[65 * K]).toBe(0xee);
  });

  it("writes compressed zeroes as well with sparseBytes 0", async () => {
    const source = sourceWith(256 * K, [[0, 64 * K]]);
    const target = new MemoryDisk({ size: 256 * K });
    const options = { compress: true, clusterSize: 64 * K, sparseBytes: 0 };
    await convertDisk({ source, target, targetIsZero: true, ...options });
    expect(target.operations.every(({ kind }) => kind === "writeCompressed")).toBe(true);
    expect(target.operations.reduce((bytes, { length }) => bytes + length, 0)).toBe(256 * K);
  });

  it("leaves to the target's backing file what only the source's backing file defines", async () => {
    const source = sourceWith(M, [[0, M]]);
    source.setState(256 * K, 256 * K, { ...ALLOCATED, depth: 1 });
    source.setState(512 * K, 256 * K, { ...UNALLOCATED, depth: 1 });
    source.setState(768 * K, 256 * K, UNALLOCATED);
    source.bytes.fill(0, 512 * K);
    const target = new MemoryDisk({ size: M, fill: 0x11 });
    await convertDisk({ source, target, targetIsZero: false, targetBacking: { sharedSize: 640 * K } });
    expect(kindsAndOffsets(target)).toEqual(["write 0K 256K", "writeZeroes 640K 384K"]);
  });

  it("shares nothing when the size of the source's backing file is not known", async () => {
    const source = sourceWith(M, [[0, M]]);
    source.setState(0, M, { ...ALLOCATED, depth: 1 });
    const target = new MemoryDisk({ size: M, fill: 0x11 });
    await convertDisk({ source, target, targetIsZero: false, targetBacking: {} });
    expectBytes(target.bytes, source.bytes);
  });

  it("holds no more than `parallel` buffers", async () => {
    const source = sourceWith(4 * M, [[0, 4 * M]], jitter);
    const target = new MemoryDisk({ size: 4 * M, before: jitter });
    const buffers = new Set<ArrayBufferLike>();
    const read = source.read.bind(source);
    source.read = async (request) => {
      buffers.add(request.into.buffer);
      await read(request);
    };
    await convertDisk({ source, target, targetIsZero: true, chunkBytes: 64 * K, parallel: 3 });
    expect(buffers.size).toBe(3);
  });

  it("tells how far it is, and how far it has to go", async () => {
    const source = sourceWith(4 * M, [[M, M]]);
    const seen: [number, number][] = [];
    const onProgress: ConvertOptions["onProgress"] = (done, total) => seen.push([done, total]);
    const target = new MemoryDisk({ size: 4 * M });
    await convertDisk({ source, target, targetIsZero: true, chunkBytes: 512 * K, onProgress });
    expect(seen).toEqual([
      [0, M],
      [512 * K, M],
      [M, M],
    ]);
  });

  it("measures nothing while nobody looks", async () => {
    const source = sourceWith(4 * M, [[M, M]]);
    let maps = 0;
    const map = source.map.bind(source);
    source.map = (range) => {
      maps++;
      return map(range);
    };
    const onProgress = (): void => {
      throw new Error("nobody looks");
    };
    const target = new MemoryDisk({ size: 4 * M });
    await convertDisk({ source, target, targetIsZero: true, onProgress, isWatched: () => false });
    expectBytes(target.bytes, source.bytes);
    expect(maps).toBe(1);
  });

  it("tells how far it has to go from when somebody looks", async () => {
    const source = sourceWith(4 * M, [[M, 3 * M]], jitter);
    const target = new MemoryDisk({ size: 4 * M, before: jitter });
    const seen: [number, number][] = [];
    await convertDisk({
      source,
      target,
      targetIsZero: true,
      chunkBytes: 64 * K,
      parallel: 2,
      onProgress: (done, total) => seen.push([done, total]),
      isWatched: () => target.operations.length > 4,
    });
    expect(new Set(seen.map(([, total]) => total))).toEqual(new Set([3 * M]));
    const done = seen.map(([bytes]) => bytes);
    expect(done).toEqual([...done].sort((first, second) => first - second));
    expect(done[0]).toBeGreaterThan(0);
    expect(done[0]).toBeLessThan(2 * M);
    expect(done.at(-1)).toBe(3 * M);
  });

  it("keeps to the rate limit", async () => {
    const source = sourceWith(512 * K, [[0, 512 * K]]);
    const target = new MemoryDisk({ size: 512 * K });
    const start = performance.now();
    await convertDisk({
      source,
      target,
      targetIsZero: true,
      chunkBytes: 64 * K,
      rateLimitBytesPerSecond: 2 * M,
    });
    // The first chunk may go at once; the other seven wait: 448 KiB at 2 MiB/s.
    expect(performance.now() - start).toBeGreaterThan(200);
  });

  it("copies an empty disk", async () => {
    const target = new MemoryDisk({ size: 0 });
    const result = await convertDisk({ source: sourceWith(0, []), target, targetIsZero: true });
    expect(result.bytesRead).toBe(0);
    expect(target.operations).toEqual([]);
  });

  it("refuses what cannot work before anything is written", async () => {
    const source = sourceWith(M, [[0, M]]);
    const target = new MemoryDisk({ size: M });
    const base = { source, target, targetIsZero: true };
    const small = new MemoryDisk({ size: M - 512 });
    await expect(convertDisk({ ...base, target: small })).rejects.toMatchObject({ code: "out-of-range" });
    await expect(convertDisk({ ...base, targetBacking: {} })).rejects.toMatchObject({
      code: "invalid-option",
    });
    await expect(convertDisk({ ...base, sparseBytes: 100 })).rejects.toThrow(RangeError);
    await expect(convertDisk({ ...base, parallel: 0 })).rejects.toThrow(RangeError);
    await expect(convertDisk({ ...base, compress: true })).rejects.toThrow(TypeError);
    const plain = Object.assign(new MemoryDisk({ size: M }), { writeCompressed: undefined });
    await expect(
      convertDisk({ ...base, target: plain as never, compress: true, clusterSize: 65536 }),
    ).rejects.toMatchObject({ code: "unsupported" });
    expect(target.operations).toEqual([]);
    expect(small.operations).toEqual([]);
  });
});

describe("salvage", () => {
  const failing = (from: number, to: number, error: () => Error): Before => {
    return ({ kind, offset, length }) => {
      if (kind === "read" && offset < to && offset + length > from) throw error();
    };
  };
  const ioError = (): Error => new Qcow2Error("io", "EIO", { operation: "read", name: "source" });

  it("copies all but the unreadable sectors, and reports them as one range", async () => {
    const source = sourceWith(M, [[0, M]], failing(300 * K + 512, 302 * K, ioError));
    const target = new MemoryDisk({ size: M, fill: 0xee });
    const ranges: unknown[] = [];
    const result = await convertDisk({
      source,
      target,
      targetIsZero: false,
      salvage: true,
      onReadError: ({ offset, length, error }) => ranges.push([offset, length, error.message]),
    });
    expect(ranges).toEqual([[300 * K + 512, 1536, "EIO"]]);
    expect(result.bytesUnreadable).toBe(1536);
    const expected = source.bytes.slice().fill(0, 300 * K + 512, 302 * K);
    expectBytes(target.bytes, expected);
  });

  it("goes on reading where the map is damaged", async () => {
    const source = sourceWith(M, [[0, M]], ({ kind, offset }) => {
      if (kind === "map" && offset >= 256 * K && offset < 512 * K) throw ioError();
    });
    // Two extents, so that the damage lies between them.
    source.setState(256 * K, 512 * K, { ...ALLOCATED });
    const target = new MemoryDisk({ size: M });
    await convertDisk({ source, target, targetIsZero: true, salvage: true, chunkBytes: 64 * K });
    expectBytes(target.bytes, source.bytes);
  });

  it("does not take a missing codec for damage", async () => {
    const missing = (): Error =>
      new Qcow2Error("codec-missing", "no zstd", { codec: "zstd", direction: "decompress" });
    const source = sourceWith(M, [[0, M]], failing(0, M, missing));
    const target = new MemoryDisk({ size: M });
    await expect(convertDisk({ source, target, targetIsZero: true, salvage: true })).rejects.toMatchObject({
      code: "codec-missing",
    });
  });
});

describe("failure and cancelling", () => {
  it("rejects with the first error once nothing is running, and writes nothing after it", async () => {
    let failedAt = 0;
    const source = sourceWith(4 * M, [[0, 4 * M]], jitter);
    const target: MemoryDisk = new MemoryDisk({
      size: 4 * M,
      before: async (operation) => {
        await jitter(operation);
        if (operation.offset !== M) return;
        failedAt = target.operations.length;
        throw new Qcow2Error("io", "No space left on device", { operation: "write", name: "target" });
      },
    });
    const copy = convertDisk({ source, target, targetIsZero: true, chunkBytes: 128 * K });
    await expect(copy).rejects.toThrow("No space left on device");
    expect(source.running + target.running).toBe(0);
    expect(target.operations.length).toBe(failedAt);
  });

  it("stops at an abort, even while it waits for the rate limit", async () => {
    const source = sourceWith(4 * M, [[0, 4 * M]], jitter);
    const target = new MemoryDisk({ size: 4 * M, before: jitter });
    const controller = new AbortController();
    const reason = new Error("enough");
    setTimeout(() => controller.abort(reason), 20);
    const start = performance.now();
    const copy = convertDisk({
      source,
      target,
      targetIsZero: true,
      chunkBytes: 64 * K,
      rateLimitBytesPerSecond: 1000,
      signal: controller.signal,
    });
    await expect(copy).rejects.toBe(reason);
    expect(performance.now() - start).toBeLessThan(2000);
    expect(source.running + target.running).toBe(0);
  });

  it("does nothing for a signal that is aborted already", async () => {
    const source = sourceWith(M, [[0, M]]);
    const target = new MemoryDisk({ size: M });
    const signal = AbortSignal.abort(new Error("before"));
    await expect(convertDisk({ source, target, targetIsZero: true, signal })).rejects.toThrow("before");
    expect(target.operations).toEqual([]);
  });
});
