import type { Qcow2Image } from "@qcow2/core";

/** Bytes that are copied at a time. */
const CHUNK_BYTES = 2 ** 20;

/**
 * Writes into the image what it does not define itself of the clusters in the range, so that the backing file is not
 * asked for them again. What reads as zeroes is marked as such.
 */
export async function copyOnRead(image: Qcow2Image, offset: number, length: number): Promise<void> {
  const { clusterSize } = image.info();
  const start = offset - (offset % clusterSize);
  const end = Math.min(image.size, Math.ceil((offset + length) / clusterSize) * clusterSize);
  if (length === 0) return;
  for await (const extent of image.map({ offset: start, length: end - start })) {
    if (extent.present && extent.depth === 0) continue;
    if (extent.kind === "zero") await image.writeZeroes({ offset: extent.offset, length: extent.length });
    else await copy(image, extent.offset, extent.length);
  }
}

async function copy(image: Qcow2Image, offset: number, length: number): Promise<void> {
  for (let done = 0; done < length; done += CHUNK_BYTES) {
    const chunk = new Uint8Array(Math.min(CHUNK_BYTES, length - done));
    await image.read({ offset: offset + done, into: chunk });
    await image.write({ offset: offset + done, from: chunk });
  }
}
