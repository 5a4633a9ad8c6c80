/** Opens one file as a disk, in a format that is given or found out. */
import {
  type Codecs,
  type OpenOptions,
  PROBE_BYTES,
  probeFormat,
  Qcow2Error,
  Qcow2Image,
  RawDisk,
  type References,
  type Storage,
} from "@qcow2/core";
import { type FileAccess, openPlace } from "./image-place.ts";

/** How an image is worked on, apart from which one it is. */
export type ImageTuning = Pick<
  OpenOptions,
  "l2CacheBytes" | "refcountCacheBytes" | "discard" | "overlapCheck"
>;

export interface OpenFileDiskOptions extends FileAccess {
  readonly path: string;
  readonly format?: string | undefined;
  readonly readOnly: boolean;
  readonly forceShare?: boolean | undefined;
  readonly snapshot?: string | undefined;
  readonly metadataOnly?: boolean | undefined;
  readonly codecs?: Codecs | undefined;
  readonly references: References;
  /** Instead of the backing file that the image names. */
  readonly backing?: OpenOptions["backing"];
  readonly image?: ImageTuning | undefined;
}

/** @throws Qcow2Error "unsupported-format", and what opening the file and the image throws */
export async function openFileDisk(options: OpenFileDiskOptions): Promise<Qcow2Image | RawDisk> {
  const { path, readOnly } = options;
  // Like QEMU, readers of a raw image put up with writers; what a qcow2 image needs is added once it is known to be one.
  const place = await openPlace(path, { ...options, lock: readOnly ? "shared" : "write" });
  const { storage } = place;
  try {
    const format = options.format ?? (await probe(storage));
    if (format === "raw") return await openRaw(storage, options);
    if (format !== "qcow2") throw unsupportedFormat(path, format);
    if (readOnly) place.lock("consistent");
    return await Qcow2Image.open({
      ...options.image,
      storage,
      readOnly,
      references: options.references,
      backing: options.backing,
      codecs: options.codecs,
      metadataOnly: options.metadataOnly,
      snapshot: options.snapshot,
    });
  } catch (error) {
    await storage.close();
    throw error;
  }
}

async function openRaw(storage: Storage, options: OpenFileDiskOptions): Promise<RawDisk> {
  if (options.snapshot === undefined) return RawDisk.open({ storage, readOnly: options.readOnly });
  const message = `'${storage.name}' is a raw image, and raw images have no snapshots`;
  throw new Qcow2Error("snapshot-not-found", message, { snapshot: options.snapshot });
}

async function probe(storage: Storage): Promise<string> {
  const bytes = new Uint8Array(PROBE_BYTES);
  return probeFormat(bytes.subarray(0, await storage.read(0, bytes)));
}

/** What an image can be, and this library does not read. */
const OTHER_FORMATS: readonly string[] = [
  "bochs",
  "cloop",
  "dmg",
  "luks",
  "parallels",
  "qcow",
  "qed",
  "vdi",
  "vhdx",
  "vmdk",
  "vpc",
  "vvfat",
];

function unsupportedFormat(path: string, format: string): Qcow2Error<"unsupported-format"> {
  const isKnown = OTHER_FORMATS.includes(format);
  const message = isKnown
    ? `'${path}' has the format '${format}', which is neither raw nor qcow2`
    : `Unknown driver '${format}'`;
  return new Qcow2Error("unsupported-format", message, { format });
}
