/** Closing waits for what is under way, and lets go of everything even where that fails. */
import { type Disk, MemoryStorage, Qcow2Image, type References } from "@qcow2/core";
import { WrappedStorage } from "@qcow2/testing";
import { expect, it } from "vitest";

/** Takes its time, and remembers whether it was closed while a request was under way. */
class SlowStorage extends WrappedStorage {
  underWay = 0;
  closedUnderWay: boolean | undefined;
  readonly #kept: MemoryStorage;

  constructor(kept: MemoryStorage) {
    super(kept);
    this.#kept = kept;
  }

  override async read(offset: number, into: Uint8Array): Promise<number> {
    return await this.#slowly(() => this.#kept.read(offset, into));
  }

  override async write(offset: number, from: Uint8Array): Promise<void> {
    await this.#slowly(() => this.#kept.write(offset, from));
  }

  override async close(): Promise<void> {
    this.closedUnderWay = this.underWay > 0;
  }

  async #slowly<Result>(work: () => Promise<Result>): Promise<Result> {
    this.underWay++;
    try {
      await new Promise((resolve) => setTimeout(resolve, 2));
      return await work();
    } finally {
      this.underWay--;
    }
  }
}

async function firstByte(storage: MemoryStorage, offset: number): Promise<number | undefined> {
  const image = await Qcow2Image.open({ storage, readOnly: true });
  const into = new Uint8Array(1);
  await image.read({ offset, into });
  return into[0];
}

it("keeps a write that was under way when it was called", async () => {
  const kept = new MemoryStorage();
  const storage = new SlowStorage(kept);
  const image = await Qcow2Image.create({ storage, size: 1 << 20 });
  const writing = image.write({ offset: 65536, from: Uint8Array.of(7) });
  await image.close();
  await writing;
  expect(storage.closedUnderWay).toBe(false);
  expect(await firstByte(kept, 65536)).toBe(7);
});

it("does not close the storage under a read", async () => {
  const storage = new SlowStorage(new MemoryStorage());
  const image = await Qcow2Image.create({ storage, size: 1 << 20 });
  await image.write({ offset: 0, from: Uint8Array.of(7) });
  const into = new Uint8Array(1);
  const reading = image.read({ offset: 0, into });
  await image.close();
  await reading;
  expect(storage.closedUnderWay).toBe(false);
  expect(into[0]).toBe(7);
});

it("makes a second call wait for the first", async () => {
  const storage = new SlowStorage(new MemoryStorage());
  const image = await Qcow2Image.create({ storage, size: 1 << 20 });
  await image.write({ offset: 0, from: Uint8Array.of(7) });
  void image.close();
  await image.close();
  expect(storage.closedUnderWay).toBe(false);
});

it("closes the image's own storage where closing the backing file fails", async () => {
  const storage = new SlowStorage(new MemoryStorage());
  const backing: Disk = {
    format: "raw",
    name: "backing",
    size: 512,
    readOnly: true,
    read: async () => undefined,
    map: async function* () {},
    readable: () => new ReadableStream<Uint8Array<ArrayBuffer>>(),
    close: async () => {
      throw new Error("the backing file does not close");
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
  const references: References = {
    openBackingFile: async () => backing,
    openDataFile: async () => new MemoryStorage(),
  };
  const backingFile = { name: "backing", format: "raw" };
  const image = await Qcow2Image.create({ storage, size: 512, backingFile, references });
  await expect(image.close()).rejects.toThrow("the backing file does not close");
  expect(storage.closedUnderWay).toBe(false);
});
