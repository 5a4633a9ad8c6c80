/** The options that `-o` takes for a new image, per format, in the order in which qemu-img prints them. */
import { OTHER_FORMATS } from "@qcow2/node";

export interface CreationOption {
  readonly name: string;
  readonly kind: "string" | "switch" | "size" | "number";
  /** Printed when the option is not given; options without a default are then not printed. */
  readonly standard?: string;
  readonly help: string;
  /** What it can be, where that is a few words. */
  readonly choices?: readonly string[];
  /** Why it is refused, for options that are known and not supported. */
  readonly unsupported?: string;
}

export type CreatableFormat = "qcow2" | "raw";

const NO_ENCRYPTION = "Encryption is not supported yet";

const SIZE: CreationOption = { name: "size", kind: "size", help: "virtual size of the disk" };

/** An option of the file in which a raw image is, as far as QEMU is concerned. */
const FILE_PREALLOCATION: CreationOption = {
  name: "preallocation",
  kind: "string",
  help: "off, falloc or full",
  choices: ["off", "falloc", "full"],
};

/** Options of the file that holds the image, whatever its format. */
const FILE_OPTIONS: readonly CreationOption[] = [
  {
    name: "nocow",
    kind: "switch",
    help: "accepted for scripts: no copy-on-write in btrfs (not passed on)",
  },
  {
    name: "extent_size_hint",
    kind: "size",
    help: "accepted for scripts: a hint for the file system (not passed on)",
  },
];

const encryption = (name: string, kind: CreationOption["kind"] = "string"): CreationOption => ({
  name,
  kind,
  help: "encryption (not supported yet)",
  unsupported: NO_ENCRYPTION,
});

export const CREATION_OPTIONS: Readonly<Record<CreatableFormat, readonly CreationOption[]>> = {
  qcow2: [
    encryption("encryption", "switch"),
    encryption("encrypt.format"),
    encryption("encrypt.key-secret"),
    encryption("encrypt.cipher-alg"),
    encryption("encrypt.cipher-mode"),
    encryption("encrypt.ivgen-alg"),
    encryption("encrypt.ivgen-hash-alg"),
    encryption("encrypt.hash-alg"),
    encryption("encrypt.iter-time", "number"),
    {
      name: "cluster_size",
      kind: "size",
      standard: "65536",
      help: "unit of allocation, a power of two from 512 to 2M",
    },
    { name: "extended_l2", kind: "switch", standard: "off", help: "32 subclusters in each cluster" },
    {
      name: "preallocation",
      kind: "string",
      help: "off, metadata, falloc or full",
      choices: ["off", "metadata", "falloc", "full"],
    },
    {
      name: "compression_type",
      kind: "string",
      standard: "zlib",
      help: "zlib or zstd",
      choices: ["zlib", "zstd"],
    },
    SIZE,
    {
      name: "compat",
      kind: "string",
      help: "version of the format: 0.10 (v2) or 1.1 (v3)",
      choices: ["0.10", "1.1"],
    },
    { name: "backing_file", kind: "string", help: "file whose content shows where nothing was written" },
    { name: "backing_fmt", kind: "string", help: "format of the backing file" },
    { name: "data_file", kind: "string", help: "separate file for the guest's data" },
    { name: "data_file_raw", kind: "switch", help: "keep the data file readable as a raw image" },
    { name: "lazy_refcounts", kind: "switch", standard: "off", help: "postpone updates of refcounts" },
    {
      name: "refcount_bits",
      kind: "number",
      standard: "16",
      help: "width of a refcount, a power of two from 1 to 64",
    },
    ...FILE_OPTIONS,
  ],
  raw: [SIZE, FILE_PREALLOCATION, ...FILE_OPTIONS],
};

/** True for options of the file and not of the format, which `-o help` lists only if there is a file. */
export function isFileOption(option: CreationOption): boolean {
  return option === FILE_PREALLOCATION || FILE_OPTIONS.includes(option);
}

/** True for a format that `create` and `convert` can write. */
export function isCreatableFormat(format: string): format is CreatableFormat {
  return Object.hasOwn(CREATION_OPTIONS, format);
}

/** True for what is no format of QEMU's. */
export function isUnknownFormat(format: string): boolean {
  return !isCreatableFormat(format) && !OTHER_FORMATS.includes(format);
}

/** Why a format cannot be written, in one sentence. */
export function refusedFormat(format: string): string {
  if (isUnknownFormat(format)) return `Unknown file format '${format}'`;
  return `Writing the format '${format}' is not supported (use qcow2 or raw)`;
}
