/** Opens an image for the commands of `io`. */
import { type Codecs, Qcow2Image, RawDisk } from "@qcow2/core";
import { type CacheMode, leavesNoCache } from "@qcow2/node";
import { openImage } from "../disks/open-image.ts";
import { describeError } from "../errors/describe-error.ts";
import type { ImageName } from "../options/image-name.ts";
import { IoImage } from "./io-image.ts";
import { type OpenFlags, parseDiscardMode } from "./open-flags.ts";
import { Refusal } from "./refusal.ts";
import { overlayInTemporaryFile } from "./temporary-overlay.ts";

export interface IoImageRequest {
  readonly name: ImageName;
  readonly flags: OpenFlags;
  readonly codecs: Codecs;
}

/** @throws Refusal that names the image and says why it cannot be opened */
export async function openIoImage(request: IoImageRequest): Promise<IoImage> {
  const { name, flags, codecs } = request;
  const refuse = (why: string, cause?: unknown): Refusal =>
    new Refusal(`can't open device ${name.given}: ${why}`, "named", { cause });
  const readOnly = name.readOnly ?? flags.readOnly;
  const forceShare = name.forceShare || flags.forceShare;
  if (forceShare && !readOnly && !flags.temporary)
    throw refuse("force-share=on can only be used with read-only images");
  if (flags.copiesOnRead && readOnly) throw refuse("Can't use copy-on-read on read-only device");
  if (flags.nativeAio && !leavesNoCache(flags.cache)) {
    throw refuse("aio=native was specified, but it requires cache.direct=on, which was not specified.");
  }
  try {
    const disk = await openImage(
      { ...name, forceShare },
      {
        readOnly: readOnly || flags.temporary,
        codecs,
        discard: "unmap",
        cache: cacheOf(flags),
        allowWriters: true,
      },
    );
    if (!(disk instanceof Qcow2Image || disk instanceof RawDisk)) {
      await disk.close();
      throw refuse(`The format '${disk.format}' cannot be opened here`);
    }
    const isTemporary = flags.temporary && !readOnly;
    return new IoImage(isTemporary ? await overlayInTemporaryFile(disk, codecs) : disk, {
      request,
      discards: name.discard === undefined ? flags.discards : parseDiscardMode(name.discard),
    });
  } catch (error) {
    // What openImage puts in front of the reason is said here already.
    const reason = describeError(error instanceof Error && error.cause !== undefined ? error.cause : error);
    throw reason === undefined ? error : refuse(reason, error);
  }
}

/** Of the files: that every write to the disk is durable is seen to above them. */
function cacheOf({ cache }: OpenFlags): CacheMode {
  if (cache === "directsync") return "none";
  return cache === "writethrough" ? "writeback" : cache;
}
