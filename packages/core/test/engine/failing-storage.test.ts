/** A storage that fails once: what is tried again succeeds, unless a flush failed, and nothing is counted wrongly because of it. */
import {
  type CheckFinding,
  checkStorage,
  isQcow2Error,
  MemoryStorage,
  Qcow2Error,
  Qcow2Image,
  RawDisk,
} from "@qcow2/core";
import { type FaultOptions, FaultyStorage, PlainStorage } from "@qcow2/testing";
import { expect, it } from "vitest";

const CLUSTER = 512;

/** Survives the image that closes it. */
class KeptStorage extends FaultyStorage {
  override async close(): Promise<void> {}
}

function failing(storage: MemoryStorage, options: FaultOptions): KeptStorage {
  return new KeptStorage(new PlainStorage(storage), options);
}

async function newImage(size: number): Promise<MemoryStorage> {
  const storage = new MemoryStorage();
  await (
    await Qcow2Image.create({
      storage: failing(storage, { failAt: Number.POSITIVE_INFINITY }),
      size,
      clusterSize: CLUSTER,
    })
  ).close();
  return storage;
}

async function findingsOf(storage: MemoryStorage): Promise<string[]> {
  const findings: CheckFinding[] = [];
  await checkStorage(storage, { onFinding: (finding) => findings.push(finding) });
  return findings.map(({ message }) => message);
}

it("writes after the first write could not mark the image as in use", async () => {
  const storage = await newImage(1 << 20);
  // An autoclear bit that nobody knows: it has to be cleared before anything is changed.
  await storage.write(88, Uint8Array.of(0x80));
  const image = await Qcow2Image.open({ storage: failing(storage, { failAt: 1, kinds: ["write"] }) });
  const write = () => image.write({ offset: 0, from: Uint8Array.of(1) });
  await expect(write()).rejects.toSatisfy((error) => isQcow2Error(error, "io"));
  await write();
  await image.close();
  const byte = new Uint8Array(1);
  await storage.read(88, byte);
  expect(byte[0]).toBe(0);
});

it("neither leaks nor counts twice, whichever operation of giving up clusters fails", async () => {
  const size = 512 * CLUSTER;
  for (let failAt = 1; ; failAt++) {
    const storage = await newImage(size);
    const filled = await Qcow2Image.open({ storage: failing(storage, { failAt: Number.POSITIVE_INFINITY }) });
    // More clusters than one refcount block counts.
    await filled.write({ offset: 0, from: new Uint8Array(size).fill(1) });
    await filled.close();
    const faulty = failing(storage, { failAt });
    let image: Qcow2Image;
    try {
      image = await Qcow2Image.open({ storage: faulty, l2CacheBytes: 1, refcountCacheBytes: 1 });
    } catch {
      continue;
    }
    const zero = () => image.writeZeroes({ offset: 0, length: size, unmap: true });
    let failed: unknown;
    const tryAgain = async (work: () => Promise<void>): Promise<void> => {
      await work().catch((error: unknown) => {
        failed = error;
        return work();
      });
    };
    try {
      await tryAgain(zero);
      await tryAgain(() => image.flush());
      await image.close();
    } catch (error) {
      // A flush is not tried again: nobody knows what it left. What was given up may be leaked then.
      expect([error, isQcow2Error(error, "io") && error.data.operation]).toEqual([failed, "flush"]);
      await expect(image.close()).rejects.toBe(error);
      expect((await checkStorage(storage)).corruptions, `operation ${failAt} failed`).toBe(0);
      continue;
    }
    expect(await findingsOf(storage), `operation ${failAt} failed`).toEqual([]);
    if (faulty.counted < failAt) break;
  }
});

it("changes nothing more when nobody knows which header the disk has", async () => {
  const storage = await newImage(1 << 20);
  const image = await Qcow2Image.open({
    storage: new HeaderOfUnknownFate(new PlainStorage(storage), { failAt: Number.POSITIVE_INFINITY }),
  });
  const write = () => image.write({ offset: 0, from: Uint8Array.of(1) });
  await write();
  await image.flush();
  await expect(image.createSnapshot({ name: "perhaps" })).rejects.toSatisfy((error) =>
    isQcow2Error(error, "io"),
  );
  // In the old header's image the write would be in place, over what the new one's snapshot reads.
  await expect(write()).rejects.toSatisfy((error) => isQcow2Error(error));
  // It says again why it refuses; what the file holds is what counts.
  await image.close().catch(() => undefined);
  expect(await findingsOf(storage)).toEqual([]);
});

/** Writes the header, and says that it failed. */
class HeaderOfUnknownFate extends KeptStorage {
  override async write(offset: number, from: Uint8Array): Promise<void> {
    await super.write(offset, from);
    if (offset !== 0) return;
    throw new Qcow2Error("io", "Could not write to 'memory': Input/output error", {
      operation: "write to",
      name: "memory",
      errno: "EIO",
    });
  }
}

it("nothing goes on behind a write, or zeroes, that failed at one of its ends", async () => {
  class SlowThenFailing extends KeptStorage {
    underWay = 0;

    override async read(offset: number, into: Uint8Array): Promise<number> {
      this.underWay++;
      try {
        // The first cluster's read fails at once, others take their time.
        if (offset < 4096) throw new Qcow2Error("io", "failed", { operation: "read", name: this.name });
        await new Promise((resolve) => setTimeout(resolve, 5));
        return await super.read(offset, into);
      } finally {
        this.underWay--;
      }
    }
  }
  const below = new SlowThenFailing(new MemoryStorage({ bytes: new Uint8Array(1 << 20).fill(1) }), {
    failAt: Number.POSITIVE_INFINITY,
  });
  const image = await Qcow2Image.create({
    storage: new MemoryStorage(),
    size: 1 << 20,
    clusterSize: 4096,
    backingFile: { name: "below", format: "raw" },
    references: {
      openBackingFile: async () => await RawDisk.open({ storage: below }),
      openDataFile: () => expect.fail("there is none"),
    },
  });
  const work = [
    () => image.write({ offset: 100, from: new Uint8Array(8000) }),
    () => image.writeZeroes({ offset: 100, length: 8000 }),
  ];
  for (const begin of work) {
    await expect(begin()).rejects.toSatisfy((error) => isQcow2Error(error, "io"));
    expect(below.underWay).toBe(0);
  }
  await image.close();
});
