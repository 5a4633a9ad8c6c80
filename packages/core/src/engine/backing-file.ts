/** The backing file that an image records. */
import type { Disk } from "../disk/disk.ts";
import { Qcow2Error } from "../errors.ts";
import { MAX_BACKING_NAME_BYTES } from "../limits.ts";
import { isDataFileRaw, type OpenImage } from "./open-image.ts";
import { type GiveBack, MetadataTransaction } from "./transaction/metadata-transaction.ts";
import type { WriteContext } from "./write-context.ts";

export interface BackingFileChange {
  /** As it is to be recorded; at most 1023 bytes. */
  readonly name: string;
  /** Default: none is recorded. */
  readonly format?: string | undefined;
  /** What to read from then on where the image defines nothing. */
  readonly disk?: Disk | undefined;
}

/** @throws Qcow2Error "invalid-option" */
export function assertBackingFile({ layout }: OpenImage, backing: BackingFileChange | undefined): void {
  if (backing === undefined) return;
  const option = "backing_file";
  if (backing.name === "")
    throw new Qcow2Error("invalid-option", "A backing file's name is not empty", { option });
  if (new TextEncoder().encode(backing.name).length > MAX_BACKING_NAME_BYTES) {
    throw new Qcow2Error("invalid-option", "Backing file name too long", { option });
  }
  if (isDataFileRaw(layout)) {
    throw new Qcow2Error("invalid-option", "Backing file and data-file-raw cannot be used at the same time", {
      option,
    });
  }
}

/** Records another backing file, or none (specification: "Header", backing_file_offset; "Backing file format name"). */
export async function changeBackingFile(
  context: WriteContext,
  backing: BackingFileChange | undefined,
): Promise<GiveBack> {
  return await MetadataTransaction.run(context, async () => ({
    backing: backing === undefined ? null : { name: backing.name, format: backing.format },
  }));
}
