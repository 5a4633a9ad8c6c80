/**
 * How far behind its end a file grows at the next allocation because its refcounts say that what is in between is in use.
 * They may be any bytes of the image; such clusters are leaked, nothing proves more of them, and QEMU passes them over, too.
 */

/** One block may be named by every entry of the table. */
const MOST_CLUSTERS: number = 2 ** 22;

/** Bytes from the end of the file to the end of the first cluster behind it that no refcount counts. */
export function claimedGrowth(image: Uint8Array): number {
  if (image.length < 104) return 0;
  const view = new DataView(image.buffer, image.byteOffset, image.length);
  const clusterBits = view.getUint32(20);
  const order = view.getUint32(4) < 3 ? 4 : view.getUint32(96);
  if (clusterBits < 9 || clusterBits > 21 || order > 6) return 0;
  const clusterSize = 2 ** clusterBits;
  const bits = 2 ** order;
  const perBlock = (clusterSize * 8) / bits;
  const table = Number(view.getBigUint64(48));
  const end = Math.ceil(image.length / clusterSize);
  const tableEnd = Math.min(image.length, table + view.getUint32(56) * clusterSize);
  for (let cluster = end; cluster < end + MOST_CLUSTERS; cluster++) {
    const entry = table + Math.floor(cluster / perBlock) * 8;
    if (!(entry + 8 <= tableEnd)) return (cluster - end) * clusterSize;
    const block = Number(view.getBigUint64(entry) & 0x00fffffffffffe00n);
    const bit = (cluster % perBlock) * bits;
    const at = block + Math.floor(bit / 8);
    if (block === 0 || at + Math.ceil(bits / 8) > image.length) return (cluster - end) * clusterSize;
    const isCounted =
      bits >= 8
        ? image.subarray(at, at + bits / 8).some((byte) => byte !== 0)
        : (((image[at] as number) >> (bit % 8)) & (2 ** bits - 1)) !== 0;
    if (!isCounted) return (cluster + 1 - end) * clusterSize;
  }
  return MOST_CLUSTERS * clusterSize;
}
