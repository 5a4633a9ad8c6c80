import { describe, expect, it } from "vitest";
import { readBitmapDirectory } from "../../src/engine/read-bitmap-directory.ts";
import { type BitmapDirectoryEntry, encodeBitmapDirectory } from "../../src/format/bitmap-directory.ts";
import type { BitmapsExtension } from "../../src/format/header-extensions.ts";
import { MemoryStorage } from "../../src/storage/memory-storage.ts";

const DISK = { clusterSize: 65536, virtualSize: 2 ** 30 };
const AT = 65536;

function bitmap(name: string): BitmapDirectoryEntry {
  return {
    tableOffset: 0x90000n,
    tableSize: 1,
    flags: 0,
    type: 1,
    granularityBits: 16,
    nameBytes: new TextEncoder().encode(name),
    extraData: new Uint8Array(0),
  };
}

async function stored(
  names: readonly string[],
): Promise<{ storage: MemoryStorage; extension: BitmapsExtension }> {
  const directory = encodeBitmapDirectory(names.map(bitmap));
  const storage = new MemoryStorage();
  await storage.write(AT, directory);
  const directorySize = BigInt(directory.length);
  return { storage, extension: { bitmapCount: names.length, directorySize, directoryOffset: BigInt(AT) } };
}

describe("reading the bitmap directory", () => {
  it("finds all bitmaps", async () => {
    const { storage, extension } = await stored(["a", "b"]);
    expect(await readBitmapDirectory(storage, extension, DISK)).toEqual([bitmap("a"), bitmap("b")]);
  });

  it("refuses two bitmaps of one name", async () => {
    const { storage, extension } = await stored(["a", "b", "a"]);
    await expect(readBitmapDirectory(storage, extension, DISK)).rejects.toMatchObject({
      code: "invalid-image",
      data: { found: "a" },
    });
  });

  it.each<[string, Partial<BitmapsExtension>, string]>([
    ["no bitmaps", { bitmapCount: 0 }, "invalid-image"],
    ["too many bitmaps", { bitmapCount: 65536 }, "limit-exceeded"],
    ["an empty directory", { directorySize: 0n }, "invalid-image"],
    ["a directory beyond the limit", { directorySize: 65535n * 1024n + 1n }, "limit-exceeded"],
    ["a directory that the file ends in", { directorySize: 65535n * 1024n }, "truncated"],
    ["a directory beyond the end of the file", { directoryOffset: 2n ** 52n }, "truncated"],
    ["a directory that is not aligned", { directoryOffset: 512n }, "invalid-image"],
    ["a directory beyond 2^53", { directoryOffset: 2n ** 63n }, "unsafe-offset"],
  ])("refuses an extension with %s", async (_, change, code) => {
    const { storage, extension } = await stored(["a"]);
    await expect(readBitmapDirectory(storage, { ...extension, ...change }, DISK)).rejects.toMatchObject({
      code,
    });
  });
});
