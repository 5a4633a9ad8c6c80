import { runInNewContext } from "node:vm";
import { type Disk, MemoryStorage, Qcow2Image, RawDisk, type Storage } from "@qcow2/core";
import {
  CountingStorage,
  content,
  FaultyStorage,
  firstDifference,
  KeptStorage,
  MemoryDisk,
  type StorageOperation,
  WrappedStorage,
} from "@qcow2/testing";
import { describe, expect, it } from "vitest";

const MIB = 2 ** 20;

describe("readable", () => {
  it("gives the disk in chunks that end at multiples of their size, each a buffer of its own", async () => {
    const disk = filledDisk(10_000);
    const chunks = await chunksOf(disk.readable({ offset: 500, length: 9000, chunkSize: 4096 }));
    expect(chunks.map(({ length }) => length)).toEqual([3596, 4096, 1308]);
    expectSameBytes(joined(chunks), disk.bytes.slice(500, 9500));
    expect(new Set(chunks.map(({ buffer }) => buffer)).size).toBe(3);
  });

  it("goes from an offset to the end of the disk", async () => {
    const disk = filledDisk(10_000);
    expectSameBytes(joined(await chunksOf(disk.readable({ offset: 9990 }))), disk.bytes.slice(9990));
  });

  it.each([{ offset: 0, length: 0 }, { offset: 10_000 }])("of nothing (%o) ends at once", async (range) => {
    const disk = filledDisk(10_000);
    expect(await chunksOf(disk.readable(range))).toEqual([]);
    expect(disk.operations).toEqual([]);
  });

  it("reads one chunk ahead and no more while nobody takes any", async () => {
    const disk = filledDisk(100_000);
    const reader = disk.readable({ chunkSize: 1000 }).getReader();
    await settled();
    expect(disk.operations.length).toBe(1);
    await reader.read();
    await reader.read();
    await settled();
    expect(disk.operations.length).toBe(3);
    expect(disk.mostRunning).toBe(1);
  });

  it("stops reading when it is canceled", async () => {
    const disk = filledDisk(100_000);
    const reader = disk.readable({ chunkSize: 1000 }).getReader();
    await reader.read();
    await reader.cancel();
    const { length } = disk.operations;
    await settled();
    expect(disk.operations.length).toBe(length);
    expect(length).toBeLessThanOrEqual(2);
  });

  it("can be canceled while a read is under way", async () => {
    const gate = makeGate();
    const disk = new MemoryDisk({ size: 4000, fill: 1, before: () => gate.opened });
    const stream = disk.readable({ chunkSize: 1000 });
    await settled();
    await stream.cancel();
    gate.open();
    await settled();
    expect(disk.operations.length).toBe(1);
  });

  it("fails with the reason of an aborted signal, and reads nothing more", async () => {
    const disk = filledDisk(100_000);
    const abort = new AbortController();
    const reader = disk.readable({ chunkSize: 1000, signal: abort.signal }).getReader();
    await reader.read();
    await settled();
    abort.abort(new Error("enough"));
    await expect(reader.read()).rejects.toThrow("enough");
    expect(disk.operations.length).toBe(2);
  });

  it("throws the reason of a signal that is aborted already", () => {
    const signal = AbortSignal.abort(new Error("too late"));
    const disk = filledDisk(1000);
    expect(() => disk.readable({ signal })).toThrow("too late");
    expect(disk.operations).toEqual([]);
  });

  it("fails as the read does", async () => {
    const disk = new MemoryDisk({
      size: 4000,
      before: ({ offset }) => {
        if (offset === 2000) throw new Error("bad sector");
      },
    });
    const reader = disk.readable({ chunkSize: 1000 }).getReader();
    await reader.read();
    await reader.read();
    await expect(reader.read()).rejects.toThrow("bad sector");
  });

  it("sees what was written before a chunk is read", async () => {
    const disk = await newImage(4 * MIB);
    const reader = disk.readable().getReader();
    await settled();
    await disk.write({ offset: 2 * MIB, from: Uint8Array.of(7) });
    const chunks = [await reader.read(), await reader.read(), await reader.read()];
    expect(chunks[2]?.value?.[0]).toBe(7);
    await reader.cancel();
    await disk.close();
  });

  it.each([
    [{ offset: -1 }, RangeError],
    [{ offset: 0.5 }, RangeError],
    [{ length: -1 }, RangeError],
    [{ chunkSize: 0 }, RangeError],
    [{ chunkSize: 1.5 }, RangeError],
    [{ chunkSize: Number.NaN }, RangeError],
    [{ offset: 1001 }, { code: "out-of-range" }],
    [{ offset: 1, length: 1000 }, { code: "out-of-range" }],
  ])("refuses %o", (options, error) => {
    const disk = filledDisk(1000);
    expectThrows(() => disk.readable(options), error);
    expect(disk.operations).toEqual([]);
  });

  it("refuses a closed image, and fails when the image is closed meanwhile", async () => {
    const image = await newImage(4 * MIB);
    const reader = image.readable().getReader();
    await reader.read();
    await reader.read();
    await image.close();
    // What was read ahead may still come.
    const theRest = async (): Promise<void> => {
      while (!(await reader.read()).done);
    };
    await expect(theRest()).rejects.toMatchObject({ code: "closed" });
    expectThrows(() => image.readable(), { code: "closed" });
  });
});

describe("writable", () => {
  it("writes what it is given from its offset on, and leaves the rest as it was", async () => {
    const disk = new MemoryDisk({ size: 3 * MIB, fill: 9 });
    const bytes = content({ kind: "random", seed: 1, length: MIB + 12_345 });
    await pieces(bytes, 1000).pipeTo(disk.writable({ offset: 777 }));
    const expected = new Uint8Array(3 * MIB).fill(9);
    expected.set(bytes, 777);
    expectSameBytes(disk.bytes, expected);
  });

  it("gathers small chunks into aligned pieces", async () => {
    const disk = new MemoryDisk({ size: 3 * MIB });
    const bytes = content({ kind: "random", seed: 1, length: 2 * MIB });
    await pieces(bytes, 4096).pipeTo(disk.writable({ offset: 512 }));
    expect(disk.operations).toEqual([
      { kind: "write", offset: 512, length: MIB - 512 },
      { kind: "write", offset: MIB, length: MIB },
      { kind: "write", offset: 2 * MIB, length: 512 },
    ]);
  });

  it("lets whoever writes a chunk use its buffer again once it is accepted", async () => {
    const disk = new MemoryDisk({ size: 3 * MIB });
    const expected = new Uint8Array(3 * MIB);
    const writer = disk.writable().getWriter();
    const chunk = new Uint8Array(300_000);
    for (let index = 0; index < 10; index++) {
      expected.fill(index + 1, index * chunk.length, (index + 1) * chunk.length);
      await writer.write(chunk.fill(index + 1));
    }
    await writer.close();
    expectSameBytes(disk.bytes, expected);
  });

  it("writes whole aligned units of zeroes as zeroes, and everything else as data", async () => {
    const disk = new MemoryDisk({ size: MIB, fill: 9 });
    const bytes = new Uint8Array(MIB);
    bytes[65536 * 2 - 1] = 1;
    bytes[65536 * 5] = 1;
    await pieces(bytes, 100_000).pipeTo(disk.writable());
    expectSameBytes(disk.bytes, bytes);
    expect(disk.operations).toEqual([
      { kind: "writeZeroes", offset: 0, length: 65536 },
      { kind: "write", offset: 65536, length: 65536 },
      { kind: "writeZeroes", offset: 65536 * 2, length: 65536 * 3 },
      { kind: "write", offset: 65536 * 5, length: 65536 },
      { kind: "writeZeroes", offset: 65536 * 6, length: 65536 * 10 },
    ]);
  });

  it("takes no more chunks while a write is under way", async () => {
    const gate = makeGate();
    const disk = new MemoryDisk({ size: 8 * MIB, before: () => gate.opened });
    const source = filledDisk(8 * MIB);
    const piped = source.readable().pipeTo(disk.writable());
    await settled();
    // One chunk is being written, one was read ahead.
    expect(source.operations.length).toBe(2);
    expect(disk.operations.length).toBe(1);
    gate.open();
    await piped;
    expectSameBytes(disk.bytes, source.bytes);
    expect(disk.mostRunning).toBe(1);
  });

  it("flushes when it is closed, and leaves the disk open", async () => {
    const storage = new CountingStorage(new MemoryStorage());
    const disk = await RawDisk.open({ storage, size: 4 * MIB });
    const writer = disk.writable().getWriter();
    await writer.write(Uint8Array.of(1, 2, 3));
    expect(storage.count("flush")).toBe(0);
    await writer.close();
    expect(storage.count("flush")).toBe(1);
    expectSameBytes(await bytesOf(disk, 0, 4), Uint8Array.of(1, 2, 3, 0));
    await disk.close();
  });

  it("writes nothing more once it is aborted, not even what it has accepted", async () => {
    const disk = new MemoryDisk({ size: 4 * MIB, fill: 9 });
    const writer = disk.writable().getWriter();
    await writer.write(new Uint8Array(MIB + 5).fill(1));
    await writer.abort(new Error("enough"));
    await settled();
    expect(disk.operations).toEqual([{ kind: "write", offset: 0, length: MIB }]);
    await expect(writer.write(Uint8Array.of(1))).rejects.toThrow("enough");
    await expect(writer.close()).rejects.toBeDefined();
    expect(disk.bytes.subarray(MIB).every((byte) => byte === 9)).toBe(true);
  });

  it("stops within a chunk that is being written when it is aborted", async () => {
    const gate = makeGate();
    const disk = new MemoryDisk({ size: 4 * MIB, before: () => gate.opened });
    const writer = disk.writable().getWriter();
    const writing = expect(writer.write(new Uint8Array(4 * MIB).fill(1))).rejects.toThrow("enough");
    await settled();
    const aborted = writer.abort(new Error("enough"));
    gate.open();
    await Promise.all([writing, aborted]);
    expect(disk.operations).toEqual([{ kind: "write", offset: 0, length: MIB }]);
  });

  it("fails with the reason of an aborted signal, and writes nothing more", async () => {
    const disk = new MemoryDisk({ size: 4 * MIB });
    const abort = new AbortController();
    const writer = disk.writable({ signal: abort.signal }).getWriter();
    await writer.write(Uint8Array.of(1));
    abort.abort(new Error("enough"));
    await expect(writer.write(Uint8Array.of(1))).rejects.toThrow("enough");
    await expect(writer.closed).rejects.toThrow("enough");
    await settled();
    expect(disk.operations).toEqual([]);
  });

  it("throws the reason of a signal that is aborted already", () => {
    const signal = AbortSignal.abort(new Error("too late"));
    expect(() => filledDisk(1000).writable({ signal })).toThrow("too late");
  });

  it("refuses a chunk that reaches beyond the end before any of it is written", async () => {
    const disk = new MemoryDisk({ size: 2 * MIB, fill: 9 });
    const writer = disk.writable({ offset: MIB }).getWriter();
    await writer.write(new Uint8Array(10).fill(1));
    await expect(writer.write(new Uint8Array(MIB - 9).fill(1))).rejects.toMatchObject({
      code: "out-of-range",
      data: { offset: MIB + 10, length: MIB - 9, size: 2 * MIB },
    });
    await settled();
    expect(disk.operations).toEqual([]);
  });

  it("accepts exactly as much as fits, and empty chunks everywhere", async () => {
    const disk = new MemoryDisk({ size: 2 * MIB + 512, fill: 9 });
    const bytes = content({ kind: "random", seed: 3, length: disk.size });
    const writer = disk.writable().getWriter();
    for (const chunk of [bytes.subarray(0, 0), bytes, bytes.subarray(0, 0)]) await writer.write(chunk);
    await writer.close();
    expectSameBytes(disk.bytes, bytes);
  });

  it.each([["a string"], [new ArrayBuffer(8)], [new Uint16Array(4)], [null], [7]])(
    "refuses a chunk that is no Uint8Array: %o",
    async (chunk) => {
      const disk = new MemoryDisk({ size: MIB });
      const writer = disk.writable().getWriter();
      await expect(writer.write(chunk as unknown as Uint8Array)).rejects.toBeInstanceOf(TypeError);
      expect(disk.operations).toEqual([]);
    },
  );

  it("accepts the Uint8Array of another realm", async () => {
    const disk = new MemoryDisk({ size: MIB });
    const foreign = runInNewContext("Uint8Array.of(1, 2, 3)") as Uint8Array;
    const writer = disk.writable().getWriter();
    await writer.write(foreign);
    await writer.close();
    expect([...disk.bytes.subarray(0, 4)]).toEqual([1, 2, 3, 0]);
  });

  it.each([
    [{ offset: -1 }, RangeError],
    [{ offset: 0.5 }, RangeError],
    [{ offset: 1001 }, { code: "out-of-range" }],
  ])("refuses %o", (options, error) => {
    const disk = filledDisk(1000);
    expectThrows(() => disk.writable(options), error);
  });

  it("refuses read-only and closed disks", async () => {
    const readOnly = await RawDisk.open({ storage: new MemoryStorage(), size: 512, readOnly: true });
    expectThrows(() => readOnly.writable(), { code: "read-only" });
    const image = await newImage(MIB);
    await image.close();
    expectThrows(() => image.writable(), { code: "closed" });
  });

  it("fails when the disk is closed meanwhile", async () => {
    const image = await newImage(4 * MIB);
    const writer = image.writable().getWriter();
    await writer.write(Uint8Array.of(1));
    await image.close();
    await expect(writer.close()).rejects.toMatchObject({ code: "closed" });
  });

  it.each(["write", "flush"] as const)("fails as the storage does (%s)", async (kind) => {
    const storage = new FaultyStorage(new MemoryStorage(), { failAt: 1, kinds: [kind] });
    const disk = await RawDisk.open({ storage, size: MIB });
    const copied = pieces(new Uint8Array(1000).fill(1), 100).pipeTo(disk.writable());
    await expect(copied).rejects.toMatchObject({ code: "io", data: { errno: "EIO" } });
  });

  it("makes the source stop when the target fails", async () => {
    const source = filledDisk(16 * MIB);
    const target = new MemoryDisk({
      size: 16 * MIB,
      before: () => {
        throw new Error("no space");
      },
    });
    await expect(source.readable().pipeTo(target.writable())).rejects.toThrow("no space");
    expect(source.operations.length).toBeLessThanOrEqual(3);
  });
});

describe("a copy through streams", () => {
  it("keeps a sparse qcow2 disk sparse, also over old data", async () => {
    const source = await newImage(64 * MIB);
    const storage = new KeptStorage(new MemoryStorage());
    const target = await Qcow2Image.create({ storage, size: 64 * MIB });
    const bytes = content({ kind: "random", seed: 5, length: 3 * 65536 });
    await source.write({ offset: 20 * MIB + 65536, from: bytes });
    await target.write({ offset: 20 * MIB - 65536, from: bytes });
    await target.write({ offset: 40 * MIB, from: bytes });
    await source.readable().pipeTo(target.writable());
    expectSameBytes(await bytesOf(target, 0, 64 * MIB), await bytesOf(source, 0, 64 * MIB));
    const { allocatedClusters, corruptions, leaks } = await target.check();
    expect({ allocatedClusters, corruptions, leaks }).toEqual({
      allocatedClusters: 3,
      corruptions: 0,
      leaks: 0,
    });
    await Promise.all([source.close(), target.close()]);
  });

  it("hides the backing file where the source has zeroes", async () => {
    const backing = await newImage(2 * MIB);
    await backing.write({ offset: 0, from: new Uint8Array(2 * MIB).fill(7) });
    const target = await Qcow2Image.create({
      storage: new MemoryStorage(),
      size: 2 * MIB,
      backingFile: { name: "backing", format: "qcow2" },
      references: { openBackingFile: async () => backing, openDataFile: async () => new MemoryStorage() },
    });
    await filledDisk(MIB).readable().pipeTo(target.writable());
    await pieces(new Uint8Array(MIB / 2), 1000).pipeTo(target.writable({ offset: MIB }));
    expectSameBytes(await bytesOf(target, 0, MIB), filledDisk(MIB).bytes);
    expectSameBytes(await bytesOf(target, MIB, MIB / 2), new Uint8Array(MIB / 2));
    expectSameBytes(await bytesOf(target, 1.5 * MIB, MIB / 2), new Uint8Array(MIB / 2).fill(7));
    await target.close();
  });

  it("goes through other streams", async () => {
    const source = filledDisk(3 * MIB);
    const target = await newImage(3 * MIB);
    const copied = source
      .readable({ chunkSize: 10_000 })
      .pipeThrough(new CompressionStream("gzip"))
      .pipeThrough(new DecompressionStream("gzip"))
      .pipeTo(target.writable());
    await copied;
    expectSameBytes(await bytesOf(target, 0, 3 * MIB), source.bytes);
    await target.close();
  });

  it("stops at pipeTo's signal", async () => {
    const abort = new AbortController();
    const source = filledDisk(16 * MIB);
    const target = new MemoryDisk({
      size: 16 * MIB,
      before: ({ offset }) => {
        if (offset === 2 * MIB) abort.abort(new Error("enough"));
      },
    });
    const copied = source.readable().pipeTo(target.writable(), { signal: abort.signal });
    await expect(copied).rejects.toThrow("enough");
    expect(target.operations.length).toBe(3);
  });
});

describe("writeZeroes with a signal", () => {
  it.each([
    { name: "version 3, a table entry for each cluster", version: 3, unmap: true, at: 20 },
    { name: "version 3, space kept", version: 3, unmap: false, at: 20 },
    // The tables are read once for the whole range, 256 slices, before anything is written.
    { name: "version 2, zeroes as data", version: 2, unmap: true, at: 340 },
  ] as const)("stops between pieces, and leaves a sound image ($name)", async ({ version, unmap, at }) => {
    const abort = new AbortController();
    const reason = new Error("enough");
    const storage = new InterruptingStorage(new MemoryStorage(), () => abort.abort(reason));
    // 512-byte clusters: one slice of the tables maps 32 KiB, so that there are many.
    const created = await Qcow2Image.create({ storage, size: 8 * MIB, clusterSize: 512, version });
    const before = new Uint8Array(8 * MIB).fill(7);
    await created.write({ offset: 0, from: before });
    await created.close();
    const image = await Qcow2Image.open({ storage, l2CacheBytes: 4096 });
    // The first change of an opening looks at all tables; the one that is stopped does not begin with that.
    await image.writeZeroes({ offset: 8 * MIB - 512, length: 512, unmap: true });
    await image.write({ offset: 8 * MIB - 512, from: before.subarray(0, 512) });
    await image.flush();
    storage.interruptAt(at);
    const { signal } = abort;
    await expect(image.writeZeroes({ offset: 0, length: 8 * MIB, unmap, signal })).rejects.toBe(reason);
    const after = await bytesOf(image, 0, 8 * MIB);
    const zeroed = after.findIndex((byte) => byte !== 0);
    expect(zeroed).toBeGreaterThan(0);
    expectSameBytes(after.subarray(zeroed), before.subarray(zeroed));
    expect(await image.check()).toMatchObject({ corruptions: 0, leaks: 0 });
    await image.writeZeroes({ offset: 0, length: 8 * MIB, unmap });
    expectSameBytes(await bytesOf(image, 0, 8 * MIB), new Uint8Array(8 * MIB));
    await image.close();
  });

  it("stops a raw disk whose zeroes are written", async () => {
    const abort = new AbortController();
    const storage = new InterruptingStorage(new MemoryStorage(), () => abort.abort(new Error("enough")));
    const disk = await RawDisk.open({ storage, size: 8 * MIB });
    await disk.write({ offset: 0, from: new Uint8Array(8 * MIB).fill(7) });
    storage.interruptAt(2);
    const zeroing = disk.writeZeroes({ offset: 0, length: 8 * MIB, signal: abort.signal });
    await expect(zeroing).rejects.toThrow("enough");
    expect((await bytesOf(disk, 0, 8 * MIB)).findIndex((byte) => byte !== 0)).toBe(2 * MIB);
    await disk.close();
  });

  it("does nothing for a signal that is aborted already", async () => {
    const image = await newImage(MIB);
    await image.write({ offset: 0, from: Uint8Array.of(7) });
    const signal = AbortSignal.abort(new Error("too late"));
    await expect(image.writeZeroes({ offset: 0, length: MIB, signal })).rejects.toThrow("too late");
    expectSameBytes(await bytesOf(image, 0, 1), Uint8Array.of(7));
    await image.close();
  });
});

/** Calls back at the n-th read or write from now on; can be opened again. */
class InterruptingStorage extends WrappedStorage {
  readonly #interrupt: () => void;
  #left = Number.POSITIVE_INFINITY;

  constructor(inner: Storage, interrupt: () => void) {
    super(inner);
    this.#interrupt = interrupt;
  }

  interruptAt(count: number): void {
    this.#left = count;
  }

  override async close(): Promise<void> {}

  protected override async before({ kind }: StorageOperation): Promise<void> {
    if (kind !== "read" && kind !== "write") return;
    this.#left--;
    if (this.#left === 0) this.#interrupt();
  }
}

function newImage(size: number): Promise<Qcow2Image> {
  return Qcow2Image.create({ storage: new MemoryStorage(), size });
}

async function bytesOf(disk: Disk, offset: number, length: number): Promise<Uint8Array> {
  const into = new Uint8Array(length);
  await disk.read({ offset, into });
  return into;
}

/** A stream of `bytes` in chunks of `length`, the last one shorter. */
function pieces(bytes: Uint8Array, length: number): ReadableStream<Uint8Array<ArrayBuffer>> {
  let offset = 0;
  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull(controller) {
      if (offset < bytes.length) controller.enqueue(bytes.slice(offset, offset + length));
      offset += length;
      if (offset >= bytes.length) controller.close();
    },
  });
}

async function chunksOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

function joined(chunks: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(chunks);
}

/** Element-wise equality takes seconds for a few MiB. */
function expectSameBytes(actual: Uint8Array, expected: Uint8Array): void {
  expect(firstDifference(actual, expected), "the first byte that differs").toBeUndefined();
}

/** Resolves when everything that could go on by itself has done so: nothing here waits for the host. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}

function makeGate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

function expectThrows(work: () => unknown, error: (new () => Error) | { readonly code: string }): void {
  if (typeof error === "function") expect(work).toThrow(error);
  else expect(work).toThrow(expect.objectContaining(error));
}

function filledDisk(size: number): MemoryDisk {
  const disk = new MemoryDisk({ size, fill: 0 });
  disk.bytes.set(content({ kind: "random", seed: size, length: size }));
  return disk;
}
