/** A cluster that becomes free while somebody looks for a free one behind it is found by the next who looks. */
import { checkStorage, MemoryStorage, Qcow2Image, type Storage } from "@qcow2/core";
import { KeptStorage, type StorageOperation, WrappedStorage } from "@qcow2/testing";
import { expect, it } from "vitest";

const CLUSTER = 512;
/** 16 bits each. */
const CLUSTERS_PER_BLOCK = CLUSTER / 2;
const BLOCKS = 8;
const SIZE = (BLOCKS + 4) * CLUSTERS_PER_BLOCK * CLUSTER;

/** Reads of one place wait until they are let go on. */
class HeldReads extends WrappedStorage {
  #offset: number | undefined;
  #goOn: (() => void) | undefined;
  #whenHeld: (() => void) | undefined;

  /** Resolves when somebody reads at `offset`. */
  hold(offset: number): Promise<void> {
    this.#offset = offset;
    return new Promise((resolve) => {
      this.#whenHeld = resolve;
    });
  }

  release(): void {
    this.#offset = undefined;
    this.#goOn?.();
  }

  protected override async before({ kind, offset }: StorageOperation): Promise<void> {
    if (kind !== "read" || offset !== this.#offset) return;
    this.#whenHeld?.();
    await new Promise<void>((resolve) => {
      this.#goOn = resolve;
    });
  }
}

async function uint64At(storage: Storage, offset: number): Promise<number> {
  const bytes = new Uint8Array(8);
  await storage.read(offset, bytes);
  return Number(new DataView(bytes.buffer).getBigUint64(0));
}

it("a cluster that is freed during a search", async () => {
  const file = new MemoryStorage();
  const created = await Qcow2Image.create({
    storage: new KeptStorage(file),
    size: SIZE,
    clusterSize: CLUSTER,
  });
  const filled = (BLOCKS - 1) * CLUSTERS_PER_BLOCK * CLUSTER;
  await created.write({ offset: 0, from: new Uint8Array(filled).fill(1) });
  await created.close();

  const held = new HeldReads(new KeptStorage(file));
  const image = await Qcow2Image.open({ storage: held, refcountCacheBytes: 1 });
  let next = filled;
  const writeNew = async (): Promise<void> => {
    const offset = next;
    next += CLUSTER;
    await image.write({ offset, from: new Uint8Array(CLUSTER).fill(2) });
  };
  await writeNew();
  // Blocks of other places fill the cache, which has room for four; what is freed there is taken again, from front to back.
  const places = [1, 2, 3, 4, 5].map((block) => block * CLUSTERS_PER_BLOCK * CLUSTER);
  for (const offset of places) await image.discard({ offset, length: CLUSTER });
  await image.flush();
  for (const _ of places) await writeNew();
  await image.discard({ offset: 0, length: CLUSTER });
  const lastBlock = await uint64At(file, (await uint64At(file, 48)) + 8 * (BLOCKS - 1));
  const isHeld = held.hold(lastBlock);
  const searching = writeNew();
  await isHeld;
  await image.flush();
  held.release();
  await searching;
  await image.flush();
  const size = await file.size();
  await writeNew();
  await image.flush();
  expect(await file.size()).toBe(size);
  await image.close();
  expect(await checkStorage(file)).toMatchObject({ corruptions: 0, leaks: 0 });
});
