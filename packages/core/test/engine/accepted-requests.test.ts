/** What was asked for before an image was closed is done; what is asked for afterwards is refused. */
import { deflateRawSync, inflateRawSync } from "node:zlib";
import { isQcow2Error, MemoryStorage, Qcow2Image, RawDisk } from "@qcow2/core";
import { KeptStorage, WrappedStorage } from "@qcow2/testing";
import { describe, expect, it } from "vitest";

const CLUSTER = 4096;
const SIZE: number = 64 * CLUSTER;

/** Every operation takes a turn of the event loop, so that requests wait for each other. */
class SlowStorage extends WrappedStorage {
  protected override async before(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

interface Opened {
  readonly kept: MemoryStorage;
  readonly image: Qcow2Image;
}

async function openSlowly(): Promise<Opened> {
  const kept = new MemoryStorage({ name: "image" });
  const references = {
    openBackingFile: async () =>
      await RawDisk.open({
        storage: new SlowStorage(new MemoryStorage({ bytes: new Uint8Array(SIZE).fill(3) })),
      }),
    openDataFile: async () => new MemoryStorage(),
  };
  const created = await Qcow2Image.create({
    storage: new KeptStorage(kept),
    size: SIZE,
    clusterSize: CLUSTER,
    backingFile: { name: "base", format: "raw" },
    references,
  });
  await created.write({ offset: 0, from: new Uint8Array(8 * CLUSTER).fill(1) });
  await created.createSnapshot({ name: "old" });
  await created.changeBitmaps([{ kind: "add", name: "follows" }]);
  await created.close();
  const codecs = {
    zlib: {
      compress: (input: Uint8Array) => deflateRawSync(input),
      decompress: (input: Uint8Array) => inflateRawSync(input),
    },
  };
  const storage = new SlowStorage(new KeptStorage(kept));
  return { kept, image: await Qcow2Image.open({ storage, codecs, references }) };
}

const REQUESTS: readonly (readonly [string, (image: Qcow2Image) => Promise<unknown>])[] = [
  ["write", (image) => image.write({ offset: 100, from: new Uint8Array(3 * CLUSTER).fill(9) })],
  ["writeZeroes", (image) => image.writeZeroes({ offset: 100, length: 2 * CLUSTER })],
  ["discard", (image) => image.discard({ offset: 0, length: 2 * CLUSTER })],
  ["writeCompressed", (image) => image.writeCompressed({ offset: 0, from: new Uint8Array(CLUSTER).fill(4) })],
  ["flush", (image) => image.flush()],
  ["check", (image) => image.check()],
  ["createSnapshot", (image) => image.createSnapshot({ name: "new" })],
  ["deleteSnapshot", (image) => image.deleteSnapshot({ name: "old" })],
  ["resize", (image) => image.resize({ size: 2 * SIZE })],
  ["amend", (image) => image.amend({ refcountBits: 32, size: 2 * SIZE, lazyRefcounts: true })],
  ["setBackingFile", (image) => image.setBackingFile({ name: "other", format: "raw" })],
  ["makeEmpty", (image) => image.makeEmpty()],
  ["changeBitmaps", (image) => image.changeBitmaps([{ kind: "add", name: "another" }])],
];

describe.each(REQUESTS)("%s", (_name, ask) => {
  it("is done if it was asked for before, behind a write to the same clusters and behind a snapshot", async () => {
    for (const first of [REQUESTS[0], REQUESTS[6]]) {
      const { image } = await openSlowly();
      const before = (first as (typeof REQUESTS)[number])[1](image);
      const asked = _name === "createSnapshot" ? image.createSnapshot({ name: "third" }) : ask(image);
      const closed = image.close();
      await before;
      await asked;
      await closed;
    }
  });

  it("is refused afterwards", async () => {
    const { image } = await openSlowly();
    const closed = image.close();
    const error = await ask(image).catch((reason: unknown) => reason);
    expect(isQcow2Error(error, "closed")).toBe(true);
    await closed;
  });
});

it("leaves the image as all that was asked for before says", async () => {
  const { image, kept } = await openSlowly();
  const asked = [
    image.write({ offset: 0, from: new Uint8Array(2 * CLUSTER).fill(5) }),
    image.write({ offset: CLUSTER, from: new Uint8Array(2 * CLUSTER).fill(6) }),
    image.createSnapshot({ name: "between" }),
    image.write({ offset: 0, from: new Uint8Array(10).fill(7) }),
    image.resize({ size: 2 * SIZE }),
  ];
  await image.close();
  await Promise.all(asked);
  const reopened = await Qcow2Image.open({ storage: kept, backing: "none" });
  expect(reopened.size).toBe(2 * SIZE);
  expect(reopened.info().snapshots.map(({ name }) => name)).toEqual(["old", "between"]);
  const into = new Uint8Array(3 * CLUSTER);
  await reopened.read({ offset: 0, into });
  expect([into[0], into[10], into[CLUSTER], into[3 * CLUSTER - 1]]).toEqual([7, 5, 6, 6]);
  const { corruptions, leaks } = await reopened.check();
  expect([corruptions, leaks]).toEqual([0, 0]);
});
