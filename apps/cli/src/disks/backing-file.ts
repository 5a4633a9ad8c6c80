import type { Disk } from "@qcow2/core";
import { backingPathOf, resolveBackingName } from "@qcow2/node";
import { CommandError } from "../errors/command-errors.ts";
import { unnested, withHint } from "../errors/describe-error.ts";
import type { ImageName } from "../options/image-name.ts";
import { assertNoFileOf, identityOf } from "./layers.ts";
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
  /** All files that it is made of. */
  readonly files: readonly string[];
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
  files,
  open,
}: NewBackingFile): Promise<number | undefined> {
  if (name === "") throw new CommandError("Expected backing file name, got empty string");
  if (name === overlay) {
    throw new CommandError("Error: Trying to create an image with the same filename as the backing file");
  }
  const path = resolveBackingName(name, overlay);
  if (!open) {
    if (format === undefined) throw new CommandError("Backing file specified without backing format");
    await assertNotInChain(path, format, files);
    return undefined;
  }
  await using disk = await openBackingFile({ given: path, path, format, forceShare: true });
  if (format === undefined) {
    throw new CommandError("Backing file specified without backing format", {
      hints: [`Detected format of ${disk.format}.`],
    });
  }
  for (const file of files) await assertNoFileOf(disk, file, "its own backing file");
  return disk.size;
}

/** The same for a chain that is not opened: what its headers say. */
async function assertNotInChain(path: string, format: string, files: readonly string[]): Promise<void> {
  const targets = await Promise.all(files.map((file) => identityOf(file)));
  const seen = new Set<string>();
  for (let layer: string | undefined = path; layer !== undefined; ) {
    const identity = await identityOf(layer);
    if (identity === undefined || seen.has(identity)) return;
    if (targets.includes(identity)) {
      throw new CommandError(
        `The target is its own backing file, or a file of that one's backing chain: '${layer}'`,
      );
    }
    seen.add(identity);
    // A raw image leads nowhere, whatever its first bytes look like.
    layer = seen.size === 1 && format === "raw" ? undefined : await backingPathOf(layer);
  }
}
