import { MemoryStorage, RawDisk } from "@qcow2/core";
import { WrappedStorage } from "@qcow2/testing";
import { expect, it } from "vitest";

/** Answers what the size was a while ago, as a host may by the time that the answer arrives. */
class LaggingStorage extends WrappedStorage {
  override async size(): Promise<number> {
    const size = await super.size();
    await new Promise((resolve) => setImmediate(resolve));
    return size;
  }
}

it("keeps what is written behind a range that is zeroed beyond the end at the same time", async () => {
  const disk = await RawDisk.open({ storage: new LaggingStorage(new MemoryStorage()), size: 1 << 20 });
  await Promise.all([
    disk.writeZeroes({ offset: 0, length: 4096 }),
    disk.write({ offset: 8192, from: new Uint8Array(4096).fill(9) }),
  ]);
  const into = new Uint8Array(4096);
  await disk.read({ offset: 8192, into });
  expect(into.every((byte) => byte === 9)).toBe(true);
});

it("grows to the end of a range that is zeroed, and not for an empty one", async () => {
  const storage = new MemoryStorage();
  const disk = await RawDisk.open({ storage, size: 1 << 20 });
  await disk.writeZeroes({ offset: 4096, length: 0 });
  expect(await storage.size()).toBe(0);
  await disk.writeZeroes({ offset: 512, length: 1024, unmap: true });
  expect(await storage.size()).toBe(1536);
});
