import type { Disk } from "@qcow2/core";
import { resolveBackingName } from "@qcow2/node";
import { CommandError } from "../errors/command-errors.ts";
import { unnested, withHint } from "../errors/describe-error.ts";
import type { ImageName } from "../options/image-name.ts";
import { assertNoFileOf } from "./layers.ts";
import { openImage } from "./open-image.ts";

async function openBackingFile(name: ImageName): Promise<Disk> {
  try {
    return await openImage(name);
  } catch (error) {
    throw withHint("Could not open backing image.", unnested(error));
  }
}

export interface NewBackingFile {
  /** As it is to be recorded; relative names are relative to the overlay. */
  readonly name: string;
  readonly format: string | undefined;
  /** The path of the image that is to have it. */
  readonly overlay: string;
  /** False to record it without a look. */
  readonly open: boolean;
}

/**
 * Checks a backing file that is to be recorded, and returns its virtual size in bytes if it was opened.
 * @throws CommandError if there is no such image, its format is not given, or the overlay is part of its chain
 */
export async function checkBackingFile({
  name,
  format,
  overlay,
  open,
}: NewBackingFile): Promise<number | undefined> {
  if (name === "") throw new CommandError("Expected backing file name, got empty string");
  if (name === overlay) {
    throw new CommandError("Error: Trying to create an image with the same filename as the backing file");
  }
  const path = resolveBackingName(name, overlay);
  if (!open) {
    if (format === undefined) throw new CommandError("Backing file specified without backing format");
    return undefined;
  }
  await using disk = await openBackingFile({ given: path, path, format, forceShare: true });
  if (format === undefined) {
    throw new CommandError("Backing file specified without backing format", {
      hints: [`Detected format of ${disk.format}.`],
    });
  }
  await assertNoFileOf(disk, overlay, "its own backing file");
  return disk.size;
}
