import type { HeldName } from "./held-name.ts";

/**
 * Why a target is written in place, where no other file can take its name, or none should:
 * - "device": it is a block device;
 * - "descriptor": it is named by a descriptor ("/dev/fd/3"), and whoever has that open waits for the bytes;
 * - "hard-links": it has other names, which would keep the old content;
 * - "mount": it is mounted by itself, as files are into containers;
 * - "folder": nothing can be created or replaced in the folder that it is in.
 */
export type InPlaceReason = "device" | "descriptor" | "hard-links" | "mount" | "folder";

/** Undefined if another file can take the name, as far as that can be told without trying. */
export function inPlaceReason({ storage, hold, stamp, place }: HeldName): InPlaceReason | undefined {
  if (storage.kind === "block-device") return "device";
  if (place === undefined) return "descriptor";
  if (stamp.links > 1) return "hard-links";
  if (place.folder.isMountPoint(hold.fd)) return "mount";
  return place.folder.keepsFilesOf(stamp.owner) ? "folder" : undefined;
}
