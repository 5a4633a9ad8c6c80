/** Damage for which a repair once destroyed what could be read before it: each kind by itself. */
import { MemoryStorage, Qcow2Error, type RepairOptions, type RepairResult, repairStorage } from "@qcow2/core";
import { KeptStorage, openShape, readableClusters, type ShapeFiles, shapeNamed } from "@qcow2/testing";
import { describe, expect, it } from "vitest";

const OFFSET_MASK = 0x00fffffffffffe00n;
const COPIED = 1n << 63n;

/** The bytes of an image, to be damaged. */
class Damaged {
  readonly files: ShapeFiles;
  #bytes: Uint8Array;

  private constructor(files: ShapeFiles) {
    this.files = files;
    this.#bytes = files.image.toBytes();
  }

  /** With two snapshots, and a cluster of its own in each, if asked for. */
  static async of(
    shape: string,
    { snapshots = false }: { readonly snapshots?: boolean } = {},
  ): Promise<Damaged> {
    const { files } = await shapeNamed(shape).build();
    if (snapshots) {
      const image = await openShape(files);
      for (const name of ["one", "two"]) {
        await image.createSnapshot({ name });
        await image.write({
          offset: 0,
          from: new Uint8Array(image.info().clusterSize).fill(name.length + 1),
        });
      }
      await image.close();
    }
    return new Damaged(files);
  }

  get size(): number {
    return this.#bytes.length;
  }

  get clusterSize(): number {
    return 2 ** this.#view.getUint32(20);
  }

  get #view(): DataView {
    return new DataView(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.length);
  }

  get(at: number): bigint {
    return this.#view.getBigUint64(at);
  }

  set(at: number, value: bigint | number): void {
    this.#view.setBigUint64(at, BigInt(value));
  }

  get32(at: number): number {
    return this.#view.getUint32(at);
  }

  set32(at: number, value: number): void {
    this.#view.setUint32(at, value);
  }

  offset(at: number): number {
    return Number(this.get(at) & OFFSET_MASK);
  }

  get l1(): number {
    return this.offset(40);
  }

  get l2(): number {
    return this.offset(this.l1);
  }

  get snapshotTable(): number {
    return Number(this.get(64));
  }

  cutOff(length: number): void {
    this.#bytes = this.#bytes.slice(0, length);
  }

  /** Repairs, and finds everything that could be read before. */
  async repair(options: Partial<RepairOptions> = {}): Promise<RepairResult & { readonly files: ShapeFiles }> {
    const files = { ...this.files, image: new MemoryStorage({ name: "image", bytes: this.#bytes.slice() }) };
    const before = await readableClusters(files);
    const result = await repairStorage(new KeptStorage(files.image), { what: "all", ...options });
    const after = await readableClusters(files);
    for (const [place, content] of before) expect(after.get(place) === content, place).toBe(true);
    return { ...result, files };
  }

  bytes(): Uint8Array {
    return this.#bytes.slice();
  }

  /** What can be read as it is. */
  async readable(): Promise<ReadonlyMap<string, string>> {
    const image = new MemoryStorage({ name: "image", bytes: this.#bytes.slice() });
    return await readableClusters({ ...this.files, image });
  }
}

const GOOD = { corruptions: 0, checkErrors: 0, leaks: 0 };

describe("an L1 entry that leads to guest data", () => {
  it.each(["clusters of 4 KiB", "refcounts of 1 bit", "refcounts of 2 bits", "refcounts of 64 bits"])(
    "%s, with refcounts that are there and that are not",
    async (shape) => {
      for (const breaksRefcounts of [false, true]) {
        const image = await Damaged.of(shape);
        // The table of the first entry has data at guest cluster 0; a second one reads that as a table.
        const data = image.offset(image.l2);
        const last = image.get32(36) - 1;
        const target = last > 0 ? image.l1 + 8 * last : image.l1 + 8;
        if (last === 0) image.set32(36, 2);
        image.set(target, BigInt(data) | COPIED);
        if (breaksRefcounts) image.set(image.offset(48), 0x123456789aff00n);
        await image.repair();
      }
    },
  );
});

it("a bitmap directory in a cluster with another user moves, and the image opens", async () => {
  const { files } = await shapeNamed("clusters of 4 KiB").build();
  const opened = await openShape(files);
  await opened.changeBitmaps([{ kind: "add", name: "bitmap" }]);
  await opened.close();
  const image = await Damaged.of("clusters of 4 KiB");
  const bytes = files.image.toBytes();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const directory = bytes.indexOf("bitmap".charCodeAt(0), 4096);
  expect(directory).toBeGreaterThan(0);
  for (let at = view.getUint32(100); at < 4096; at += 8 + Math.ceil(view.getUint32(at + 4) / 8) * 8) {
    if (view.getUint32(at) !== 0x23852875) continue;
    // A guest cluster lies where the directory is.
    view.setBigUint64(image.l2 + 8 * 5, view.getBigUint64(at + 24));
  }
  const damaged: ShapeFiles = { ...files, image: new MemoryStorage({ name: "image", bytes }) };
  const before = await readableClusters(damaged);
  const { after, left } = await repairStorage(new KeptStorage(damaged.image), { what: "all" });
  expect({ after, left }).toMatchObject({ after: GOOD, left: [] });
  const now = await readableClusters(damaged);
  for (const [place, content] of before) expect(now.get(place) === content, place).toBe(true);
  const image2 = await openShape(damaged);
  expect(image2.info().bitmaps.map(({ name }) => name)).toEqual(["bitmap"]);
  await image2.close();
});

it("a compressed cluster whose length reaches behind the end of the file keeps its data", async () => {
  const image = await Damaged.of("clusters of 64 KiB");
  for (let index = 0; index < 40; index++) {
    const at = image.l2 + 8 * index;
    // Bits 54-61: additional sectors.
    if (image.get(at) >> 62n === 1n) image.set(at, image.get(at) | (0xffn << 54n));
  }
  const { after } = await image.repair();
  expect(after).toMatchObject(GOOD);
});

it("an l1_size that is too large covers other metadata, and everything stays readable", async () => {
  for (const entries of [600, 5000, 20_000, 3_000_000]) {
    const image = await Damaged.of("clusters of 4 KiB");
    image.set32(36, entries);
    const { files } = await image.repair();
    expect(await files.image.size()).toBeLessThan(8 * image.size);
  }
});

it("what is new never lies where an entry of an overlay leads that was cut off", async () => {
  const image = await Damaged.of("version 2 over a backing file");
  image.cutOff(image.size - 6 * image.clusterSize);
  image.set(image.offset(48), 0x10200);
  // Read as zeroes where it led behind the end; the backing file has other bytes there, and so has what is new.
  expect([...(await image.readable()).values()].some((content) => /^\0+$/.test(content))).toBe(true);
  expect((await image.repair()).after).toMatchObject(GOOD);
});

it("a snapshot whose L1 table is not in the file as a whole is kept as far as it is there", async () => {
  const image = await Damaged.of("clusters of 512 bytes", { snapshots: true });
  const table = image.snapshotTable;
  const entries = image.get32(table + 8);
  image.set32(table + 8, entries + Math.ceil(image.size / 8));
  const { after, left, files } = await image.repair();
  expect({ after, left }).toMatchObject({ after: GOOD, left: [] });
  const opened = await openShape(files, { readOnly: true, snapshot: "1" });
  expect(opened.info().snapshots.map(({ name }) => name)).toEqual(["one", "two"]);
  await opened.close();
});

describe("snapshots that cannot be read are left, named, and keep their clusters", () => {
  it.each<[string, (image: Damaged) => void, RepairResult["left"][number]["kind"]]>([
    ["a table that is not aligned", (image) => image.set(64, image.snapshotTable + 512), "snapshot-table"],
    ["a table behind the end", (image) => image.set(64, 0x7f000000), "snapshot-table"],
    [
      "a table where zeroes are",
      (image) => {
        const at = Math.ceil(image.size / image.clusterSize) * image.clusterSize;
        image.set(64, at);
      },
      "snapshot-table",
    ],
    [
      "an L1 table that is not aligned",
      (image) => {
        image.set(image.snapshotTable, image.offset(image.snapshotTable) + 512);
      },
      "snapshot",
    ],
    ["an L1 table behind the end", (image) => image.set(image.snapshotTable, 0x7f000000), "snapshot"],
    ["an L1 table that is too large", (image) => image.set32(image.snapshotTable + 8, 0x7000000), "snapshot"],
  ])("%s", async (_name, damage, kind) => {
    for (const what of ["all", "leaks"] as const) {
      const image = await Damaged.of("clusters of 4 KiB", { snapshots: true });
      const tableBytes = [image.get(60), image.get(64)];
      damage(image);
      const { after, left, discarded, files } = await image.repair({ what });
      expect(left.map((irreparable) => irreparable.kind)).toEqual([kind]);
      expect(discarded).toEqual([]);
      expect(after.corruptions + after.checkErrors).toBeGreaterThan(0);
      // The damage taken back, everything is there again.
      const bytes = files.image.toBytes();
      const whole = await Damaged.of("clusters of 4 KiB", { snapshots: true });
      const wholeBytes = whole.files.image.toBytes();
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      view.setBigUint64(60, tableBytes[0] as bigint);
      view.setBigUint64(64, tableBytes[1] as bigint);
      const table = whole.snapshotTable;
      bytes.set(wholeBytes.subarray(table, table + 64), table);
      const mended = { ...files, image: new MemoryStorage({ name: "image", bytes }) };
      expect(await readableClusters(mended)).toEqual(await readableClusters(whole.files));
      const { after: checked } = await repairStorage(new KeptStorage(mended.image), { what: "leaks" });
      expect(checked.corruptions + checked.checkErrors).toBe(0);
    }
  });

  it("and are given up when that is asked for, by name", async () => {
    const image = await Damaged.of("clusters of 4 KiB", { snapshots: true });
    image.set(image.snapshotTable, 0x7f000000);
    const messages: string[] = [];
    const { after, left, discarded, files } = await image.repair({
      discardSnapshots: true,
      onRepair: (message) => messages.push(message),
    });
    expect({ after, left }).toMatchObject({ after: GOOD, left: [] });
    expect(discarded).toMatchObject([{ kind: "snapshot", id: "1", name: "one" }]);
    expect(messages.some((message) => message.startsWith("Discarding snapshot 1 one: "))).toBe(true);
    const opened = await openShape(files, { readOnly: true });
    expect(opened.info().snapshots.map(({ name }) => name)).toEqual(["two"]);
    await opened.close();
  });

  it.each([3, 70, 70_000])("a count of %i, with zeroes behind, is just too high", async (count) => {
    const image = await Damaged.of("clusters of 4 KiB", { snapshots: true });
    image.set32(60, count);
    const { after, left, files } = await image.repair();
    expect({ after, left }).toMatchObject({ after: GOOD, left: [] });
    const opened = await openShape(files, { readOnly: true });
    expect(opened.info().snapshots.map(({ name }) => name)).toEqual(["one", "two"]);
    await opened.close();
  });
});

it("opening for writing repairs a dirty image and clears autoclear bits that are not known, at once", async () => {
  const image = await Damaged.of("lazy refcounts");
  image.set(72, image.get(72) | 1n);
  image.set(88, image.get(88) | 0x80n);
  image.set(image.offset(48), 0);
  const { files } = image;
  // Writes the damage back, and opens as a writer that writes nothing.
  const damaged = { ...files, image: new MemoryStorage({ name: "image", bytes: image.bytes() }) };
  await (await openShape(damaged)).close();
  const view = new DataView(damaged.image.toBytes().buffer);
  expect([view.getBigUint64(72) & 1n, view.getBigUint64(88)]).toEqual([0n, 0n]);
});

it("one bit that says where guest data is, against the name of a data file, is not believed", async () => {
  const bits = 72;
  const dataFileBit = 4n;
  for (const shape of ["clusters of 4 KiB", "external data file"]) {
    const image = await Damaged.of(shape);
    image.set(bits, image.get(bits) ^ dataFileBit);
    for (const what of ["all", "leaks"] as const) {
      await expect(image.repair({ what })).rejects.toMatchObject({ code: "needs-repair" });
    }
  }
});

it("what snapshots share is not written over after a repair with refcounts too narrow to say so", async () => {
  const image = await Damaged.of("clusters of 512 bytes", { snapshots: true });
  // One bit of the header: refcounts of 1 bit, which count no second user.
  const bytes = image.bytes();
  bytes[99] = 0;
  const damaged: ShapeFiles = { ...image.files, image: new MemoryStorage({ name: "image", bytes }) };
  const before = await readableClusters(damaged);
  const { after } = await repairStorage(new KeptStorage(damaged.image), { what: "all" });
  expect(after.corruptions).toBeGreaterThan(0);
  const opened = await openShape(damaged);
  const { size } = opened;
  for (let offset = 0; offset + 512 <= size; offset += 512) {
    await opened.write({ offset, from: new Uint8Array(512).fill(0xe5) });
  }
  await opened.close();
  const now = await readableClusters(damaged);
  const places = [...before.keys()].filter((place) => !place.startsWith("disk"));
  expect(places.length).toBeGreaterThan(0);
  for (const place of places) expect(now.get(place) === before.get(place), place).toBe(true);
});

it("a flag that could not be written is an error, not something that was repaired", async () => {
  const image = await Damaged.of("clusters of 4 KiB");
  image.set(image.l2, image.get(image.l2) & ~COPIED);
  const noSpace = new Qcow2Error("io", "No space left", {
    operation: "write",
    name: "image",
    errno: "ENOSPC",
  });
  class Full extends KeptStorage {
    override write(): Promise<void> {
      return Promise.reject(noSpace);
    }
  }
  const storage = new Full(new MemoryStorage({ bytes: image.bytes() }));
  await expect(repairStorage(storage, { what: "all" })).rejects.toBe(noSpace);
});
