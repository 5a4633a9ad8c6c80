/** Entries that name what no file can have: an image's damage, told as such, with everything left as it was. */
import { isQcow2Error, type Qcow2Error, type Qcow2Image } from "@qcow2/core";
import { copyFiles, openShape, type ShapeFiles, shapeNamed } from "@qcow2/testing";
import { describe, expect, it } from "vitest";

const L1_TABLE_OFFSET_AT = 40;
const REFCOUNT_TABLE_OFFSET_AT = 48;
const SNAPSHOT_TABLE_OFFSET_AT = 64;
const OFFSET_MASK = 0x00fffffffffffe00n;

/** Next to 2^53 and 2^56, and the COPIED flag with and without an offset. */
const VALUES = [
  0x801fffffffff0000n,
  0x001ffffffffff000n,
  0x0020000000000000n,
  0x80fffffffffff000n,
  0x8000000000000000n,
  0xffffffffffffffffn,
  0x00000000ffffffffn,
];

const PLACES: Readonly<Record<string, (view: DataView) => number>> = {
  "L1 entry": (view) => Number(view.getBigUint64(L1_TABLE_OFFSET_AT)),
  "L2 entry": (view) =>
    Number(view.getBigUint64(Number(view.getBigUint64(L1_TABLE_OFFSET_AT))) & OFFSET_MASK),
  "refcount table entry": (view) => Number(view.getBigUint64(REFCOUNT_TABLE_OFFSET_AT)),
  "snapshot's L1 table offset": (view) => Number(view.getBigUint64(SNAPSHOT_TABLE_OFFSET_AT)),
};

const CHANGES: Readonly<Record<string, (image: Qcow2Image) => Promise<unknown>>> = {
  map: async (image) => {
    for await (const _ of image.map());
  },
  read: (image) => image.read({ offset: 0, into: new Uint8Array(4096) }),
  write: (image) => image.write({ offset: 0, from: new Uint8Array(100) }),
  writeZeroes: (image) => image.writeZeroes({ offset: 0, length: 8192, unmap: true }),
  discard: (image) => image.discard({ offset: 0, length: 8192 }),
  createSnapshot: (image) => image.createSnapshot({ name: "new" }),
  applySnapshot: (image) => image.applySnapshot("1"),
  deleteSnapshot: (image) => image.deleteSnapshot("1"),
  "resize to more": (image) => image.resize({ size: image.size + 65536 }),
  "resize to less": (image) => image.resize({ size: 4096, shrink: true }),
  "amend to version 2": (image) => image.amend({ version: 2 }),
  "amend refcounts": (image) => image.amend({ refcountBits: 32 }),
  makeEmpty: (image) => image.makeEmpty(),
  check: (image) => image.check(),
};

async function damaged(place: string, value: bigint): Promise<ShapeFiles> {
  const { files } = await shapeNamed("shared with a snapshot").build();
  const bytes = files.image.toBytes();
  const view = new DataView(bytes.buffer);
  const at = (PLACES[place] as (typeof PLACES)[string])(view);
  view.setBigUint64(at, value);
  await files.image.write(0, bytes);
  return files;
}

/** Every cluster that can be read, as text, by its offset. */
async function readable(files: ShapeFiles): Promise<Map<number, string>> {
  const found = new Map<number, string>();
  const image = await openShape(files, { readOnly: true });
  for (let offset = 0; offset < image.size; offset += 4096) {
    const into = new Uint8Array(Math.min(4096, image.size - offset));
    await image.read({ offset, into }).then(
      () => found.set(offset, Buffer.from(into).toString("latin1")),
      (error: unknown) => expect(isQcow2Error(error)).toBe(true),
    );
  }
  await image.close();
  return found;
}

/** The error of an operation; undefined if there was none. */
async function errorOf(files: ShapeFiles, name: string): Promise<unknown> {
  const image = await openShape(files);
  const error = await (CHANGES[name] as (typeof CHANGES)[string])(image).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  // What was given up, and never was anybody's, is told when it is to be counted.
  await image.close().catch((thrown: unknown) => expect(isQcow2Error(thrown, "corrupt")).toBe(true));
  return error;
}

describe.each(Object.keys(PLACES))("a damaged %s", (place) => {
  it.each(VALUES.map((value) => [`0x${value.toString(16)}`, value] as const))("of %s", async (_, value) => {
    const files = await damaged(place, value);
    const before = await readable(files);
    for (const name of Object.keys(CHANGES)) {
      const copy = await copyFiles(files);
      const error = await errorOf(copy, name);
      if (error === undefined) continue;
      expect(isQcow2Error(error), `${name}: ${String(error)}`).toBe(true);
      expect(await readable(copy), name).toEqual(before);
    }
  });
});

it.each([
  ["map", "L1 entry", 0x801fffffffff0000n, "truncated", "L2 table"],
  ["map", "L1 entry", 0x8020000000000000n, "corrupt", "L1 table"],
  ["write", "L1 entry", 0x8000000000000000n, "corrupt", "L1 table"],
  ["discard", "L1 entry", 0x8000000000000000n, "corrupt", "L1 table"],
  ["read", "L2 entry", 0x8020000000000000n, "corrupt", "L2 table"],
  ["deleteSnapshot", "snapshot's L1 table offset", 0x0020000000000000n, "invalid-image", "snapshot table"],
  ["amend to version 2", "L2 entry", 0xffffffffn, "corrupt", "L2 table"],
] as const)(
  "%s tells of a damaged %s, 0x%s, by code and structure",
  async (name, place, value, code, structure) => {
    const error = (await errorOf(await damaged(place, value), name)) as Qcow2Error;
    expect(error).toMatchObject({ code, data: { structure } });
  },
);
