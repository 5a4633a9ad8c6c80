import { isQcow2Error, MemoryStorage, RawDisk } from "@qcow2/core";
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

it("whose format was guessed is never made to look like one of another format", async () => {
  const storage = new MemoryStorage({ bytes: new Uint8Array(4096).fill(5) });
  const disk = await RawDisk.open({ storage, isGuessed: true });
  const magic = Uint8Array.of(0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3);
  const isRefused = (error: unknown): boolean => isQcow2Error(error, "format-guessed");
  await expect(disk.write({ offset: 0, from: magic })).rejects.toSatisfy(isRefused);
  // Nor in parts, at the same time, of which each would leave it raw.
  const parts = [
    disk.write({ offset: 0, from: magic.subarray(0, 2) }),
    disk.write({ offset: 2, from: magic.subarray(2) }),
  ];
  const [first, second] = await Promise.allSettled(parts);
  expect(first?.status).toBe("fulfilled");
  expect(second).toSatisfy((result: PromiseRejectedResult) => isRefused(result.reason));
  // Copied by the host nobody would have seen it.
  const from = { storage: new MemoryStorage(), offset: 0, length: 512 };
  expect(await disk.writeStored({ offset: 0, from })).toBe(false);
  await disk.write({ offset: 100, from: Uint8Array.of(1, 2, 3) });
  await disk.write({ offset: 2048, from: magic });
  const into = new Uint8Array(4096);
  await disk.read({ offset: 0, into });
  expect([...into.subarray(0, 4)]).toEqual([0x51, 0x46, 5, 5]);
  expect([...into.subarray(100, 104)]).toEqual([1, 2, 3, 5]);
  const told = await RawDisk.open({ storage });
  await told.write({ offset: 0, from: magic });
});
