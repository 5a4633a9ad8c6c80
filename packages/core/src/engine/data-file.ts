/** Space and zeroes in an external data file, whose bytes are the guest's bytes at the same offsets. */
import { writeZeroBytes } from "../storage/write-zeroes.ts";
import { isDataFileRaw } from "./open-image.ts";
import type { WriteContext } from "./write-context.ts";

/** Zeroes guest bytes start .. end (exclusive) of a raw data file, which has to read as zeroes by itself, too. */
export async function zeroRawDataFile(
  { image }: WriteContext,
  start: number,
  end: number,
  signal?: AbortSignal | undefined,
): Promise<void> {
  if (!isDataFileRaw(image.layout)) return;
  const { dataStorage } = image;
  const storedEnd = Math.min(end, await dataStorage.size());
  if (storedEnd <= start) return;
  if (dataStorage.punchHole !== undefined) {
    await dataStorage.punchHole(start, storedEnd - start);
    return;
  }
  await writeZeroBytes(dataStorage, start, storedEnd - start, signal);
}

/** Gives the space of guest bytes start .. end (exclusive), which read as zeroes by now, back to the host, if asked to. */
export async function punchDataFile({ image }: WriteContext, start: number, end: number): Promise<void> {
  const { dataStorage, mapping } = image;
  if (!mapping.hasDataFile || image.discard !== "unmap" || isDataFileRaw(image.layout)) return;
  const storedEnd = Math.min(end, await dataStorage.size());
  if (storedEnd > start) await dataStorage.punchHole?.(start, storedEnd - start);
}
