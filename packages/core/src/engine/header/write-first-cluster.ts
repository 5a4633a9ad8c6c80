import { SECTOR_SIZE } from "../../limits.ts";
import { flushStorage } from "../../storage/final-flush.ts";
import type { Storage } from "../../storage/storage.ts";
import type { HeaderReplacement } from "./replace-first-cluster.ts";

/** Writes what a replacement needs before the switch, durably; the header still says what it said. */
export async function prepareFirstCluster(
  write: (offset: number, bytes: Uint8Array) => Promise<void>,
  flush: () => Promise<void>,
  { clearing, rest, keepsRest }: HeaderReplacement,
): Promise<void> {
  if (clearing !== undefined) {
    await write(0, clearing);
    await flush();
  }
  if (keepsRest) return;
  await write(SECTOR_SIZE, rest);
  await flush();
}

/** Replaces the first cluster; a power cut leaves the old one or the new one. */
export async function writeFirstCluster(storage: Storage, replacement: HeaderReplacement): Promise<void> {
  await prepareFirstCluster(
    (offset, bytes) => storage.write(offset, bytes),
    () => flushStorage(storage),
    replacement,
  );
  await storage.write(0, replacement.sector);
  await flushStorage(storage);
}
