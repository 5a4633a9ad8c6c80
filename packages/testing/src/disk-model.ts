import { type Disk, MemoryStorage } from "@qcow2/core";

/**
 * What a disk must read as: the plainest possible model, sparse in memory. Apply every change to the disk and to
 * its model, then {@link expectSameContent}.
 */
export class DiskModel {
  readonly size: number;
  readonly #bytes = new MemoryStorage({ name: "model" });

  constructor(size: number) {
    this.size = size;
  }

  async write(offset: number, from: Uint8Array): Promise<void> {
    this.#assertInside(offset, from.length);
    await this.#bytes.write(offset, from);
  }

  async writeZeroes(offset: number, length: number): Promise<void> {
    this.#assertInside(offset, length);
    await this.#bytes.punchHole(offset, length);
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    this.#assertInside(offset, length);
    const into = new Uint8Array(length);
    await this.#bytes.read(offset, into);
    return into;
  }

  /** A model that starts with the content of this one, cut or extended with zeroes to `size`: an overlay. */
  async overlay(size: number): Promise<DiskModel> {
    const model = new DiskModel(size);
    for await (const { offset, bytes } of this.pieces()) {
      if (offset < size) await model.write(offset, bytes.subarray(0, size - offset));
    }
    return model;
  }

  /** Everything that may be other than zero, in order, in pieces. */
  async *pieces(): AsyncIterable<{ offset: number; bytes: Uint8Array }> {
    const end = await this.#bytes.size();
    for (let offset = 0; offset < end; ) {
      const extent = await this.#bytes.extentAt(offset);
      if (extent.kind === "data") yield { offset, bytes: await this.read(offset, extent.length) };
      offset += extent.length;
    }
  }

  /** The offset of the first byte in which the disk differs from this model, or undefined if there is none. */
  async firstDifference(disk: Disk, chunkBytes: number = 1 << 20): Promise<number | undefined> {
    const actual = new Uint8Array(chunkBytes);
    for (let offset = 0; offset < this.size; offset += chunkBytes) {
      const length = Math.min(chunkBytes, this.size - offset);
      // Poison first: bytes that a read forgets to fill must not pass for those of the previous round.
      const into = actual.fill(0xa5).subarray(0, length);
      await disk.read({ offset, into });
      const expected = await this.read(offset, length);
      const at = firstDifference(expected, into);
      if (at !== undefined) return offset + at;
    }
    return undefined;
  }

  #assertInside(offset: number, length: number): void {
    if (offset < 0 || offset + length > this.size) {
      throw new RangeError(`${offset}+${length} does not lie within a disk of ${this.size} bytes`);
    }
  }
}

/** The index of the first byte in which two equally long arrays differ. */
export function firstDifference(first: Uint8Array, second: Uint8Array): number | undefined {
  if (first.length !== second.length) return Math.min(first.length, second.length);
  for (let at = 0; at < first.length; at++) if (first[at] !== second[at]) return at;
  return undefined;
}

/** Throws an error that names the first differing byte, unless the disk has the model's size and content. */
export async function expectSameContent(disk: Disk, model: DiskModel): Promise<void> {
  if (disk.size !== model.size) throw new Error(`${disk.name}: size ${disk.size}, expected ${model.size}`);
  const offset = await model.firstDifference(disk);
  if (offset === undefined) return;
  const expected = (await model.read(offset, 1))[0];
  const actual = new Uint8Array(1);
  await disk.read({ offset, into: actual });
  throw new Error(`${disk.name}: byte ${offset} is ${actual[0]}, expected ${expected}`);
}
