/**
 * How much of what is read and written the host keeps to itself, by QEMU's names:
 * - "writeback" (default): the host's cache is used, and `flush` makes durable what was written;
 * - "writethrough": every write is durable when it ends;
 * - "none": like "writeback", but what was read or written does not stay in the host's cache. Other files keep theirs;
 * - "directsync": "writethrough" and "none" together;
 * - "unsafe": like "writeback", and `flush` does nothing: what was written survives the process, but no power cut.
 *
 * QEMU bypasses the host's cache for "none" and "directsync". That needs aligned memory, which Node.js does not give;
 * here the pages are given up as soon as they are read, or written and flushed, where the platform has a call for it
 * (Linux, with koffi). Elsewhere they stay, and the durability is the same.
 */
export type CacheMode = "writeback" | "writethrough" | "none" | "directsync" | "unsafe";

export function writesThrough(mode: CacheMode): boolean {
  return mode === "writethrough" || mode === "directsync";
}

export function leavesNoCache(mode: CacheMode): boolean {
  return mode === "none" || mode === "directsync";
}
