/** The backing file that an image records. */
import type { Disk } from "../disk/disk.ts";
import { isQcow2Error, refuseOption } from "../errors.ts";
import { decodeHeader } from "../format/header.ts";
import { encodeText } from "../format/stored-text.ts";
import { MAX_BACKING_NAME_BYTES } from "../limits.ts";
import type { Storage } from "../storage/storage.ts";
import { backingNameOf, readFirstCluster } from "./image-layout.ts";
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
  if (backing.name === "") refuseOption(option, "A backing file's name is not empty");
  if (encodeText(backing.name).length > MAX_BACKING_NAME_BYTES) {
    refuseOption(option, "Backing file name too long", "name-too-long");
  }
  if (isDataFileRaw(layout)) {
    refuseOption(option, "Backing file and data-file-raw cannot be used at the same time");
  }
}

/**
 * The name of the backing file that an image records; undefined for none, and for whatever is no image that this
 * library knows. Reads the header alone, so that many files can be looked at.
 * @throws Qcow2Error "io"
 */
export async function readBackingName(storage: Storage): Promise<string | undefined> {
  const bytes = await readFirstCluster(storage);
  try {
    const header = decodeHeader(bytes);
    return backingNameOf(header, bytes, 2 ** header.clusterBits);
  } catch (error) {
    if (isQcow2Error(error)) return undefined;
    throw error;
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
