import type { Disk } from "../disk/disk.ts";
import { Qcow2Error } from "../errors.ts";
import type { Storage } from "../storage/storage.ts";

/** A backing file as an image names it. */
export interface BackingReference {
  /** The name as stored in the image; relative names are relative to the image's own location. */
  readonly name: string;
  /** The format as stored in the image; undefined if the image does not say. */
  readonly format: string | undefined;
  /** {@link Storage.name} of the image that holds the reference. */
  readonly from: string;
}

/** An external data file as an image names it. */
export interface DataFileReference {
  readonly name: string;
  /** {@link Storage.name} of the image that holds the reference. */
  readonly from: string;
  readonly readOnly: boolean;
}

/**
 * The policy for files that an image names. The library never opens such a file itself: an image from an
 * untrusted source can name any file of the host.
 */
export interface References {
  /** @throws Qcow2Error "reference-denied", "reference-loop", "backing-format-missing", or what opening throws. */
  openBackingFile(reference: BackingReference): Promise<Disk>;
  /** @throws Qcow2Error "reference-denied", or what opening throws. */
  openDataFile(reference: DataFileReference): Promise<Storage>;
}

/** The policy that opens nothing: images that need a second file are refused. */
export function denyReferences(): References {
  const deny = (kind: "backing" | "data", name: string): never => {
    throw new Qcow2Error(
      "reference-denied",
      `The image refers to a ${kind} file '${name}', which is not allowed here`,
      {
        kind,
        name,
      },
    );
  };
  return {
    openBackingFile: async ({ name }) => deny("backing", name),
    openDataFile: async ({ name }) => deny("data", name),
  };
}
