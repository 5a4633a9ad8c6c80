/** Collects what `info` prints. Only metadata is read, and no file that an image names unless the chain is wanted. */
import type { Qcow2Info } from "@qcow2/core";
import { FileStorage, type ImageInfo, imageInfo, openImageStorage } from "@qcow2/node";
import { CommandError } from "../errors/command-errors.ts";
import { couldNotOpen } from "../errors/describe-error.ts";
import { type ImageName, plainPath } from "../options/image-name.ts";
import { nodeImage } from "../options/node-image.ts";
import { FILE_DRIVERS } from "../options/node-options.ts";
import { fullNames, type NodeTree, nodeFilename } from "../options/node-tree.ts";
import type { BackingReport, ImageReport, SpecificData } from "../output/image-report.ts";
import { fileIdentity } from "./file-identity.ts";
import { assertEncryption, placeOf } from "./named-image.ts";
import { combineNames } from "./path-names.ts";

/** The image, and with `wholeChain` every backing file below it. @throws CommandError */
export async function describeChain(
  name: ImageName,
  { wholeChain }: { readonly wholeChain: boolean },
): Promise<ImageReport[]> {
  const first = await describeImage(name);
  const reports = [first];
  if (!wholeChain) return reports;
  const seen = new Set([await fileIdentity(name.path)]);
  for (let next = backingName(first, name); next !== undefined; ) {
    const report = await describeImage(next);
    const identity = await fileIdentity(next.path);
    if (seen.has(identity)) {
      throw new CommandError(`Backing file '${next.given}' creates an infinite loop.`);
    }
    seen.add(identity);
    reports.push(report);
    next = backingName(report, next);
  }
  return reports;
}

async function describeImage(name: ImageName): Promise<ImageReport> {
  assertNoBackingOptions(name);
  if (name.format !== undefined && FILE_DRIVERS.includes(name.format)) return await describeFile(name);
  const { format, virtualSize, qcow2 } = await infoOf(name);
  const file = await describeStorage(name, name.node?.children.get("file"));
  const common = {
    filename: name.node === undefined ? name.path : nodeFilename(name.node, format),
    format,
    virtualSize,
    actualSize: file.actualSize,
    children: [{ name: "file", report: file }],
  };
  return { ...common, ...(qcow2 === undefined ? RAW_PART : qcow2Part(name, qcow2)) };
}

async function infoOf(name: ImageName): Promise<ImageInfo> {
  try {
    const { cache, forceShare } = name;
    const info = await imageInfo({ ...placeOf(name), cache, forceShare });
    if (info.qcow2 !== undefined) assertEncryption(name, info.qcow2);
    return info;
  } catch (error) {
    throw couldNotOpen(name.given, error);
  }
}

function qcow2Part(name: ImageName, info: Qcow2Info): Partial<ImageReport> {
  const { backingFile } = info;
  return {
    encrypted: info.encryption !== "none",
    clusterSize: info.clusterSize,
    dirty: info.dirty,
    snapshots: info.snapshots,
    specific: { type: "qcow2", data: qcow2Data(info) },
    ...(backingFile === undefined
      ? {}
      : {
          backing: {
            filename: backingFile,
            fullFilename: combineNames(name.path, backingFile),
            format: info.backingFormat,
          } satisfies BackingReport,
        }),
  };
}

/** Raw images have nothing of their own, except that QEMU says whether they are dirty: never. */
const RAW_PART: Partial<ImageReport> = { dirty: false };

/** What only qcow2 images have. */
export function qcow2Data(info: Qcow2Info): SpecificData {
  return info.version === 2 ? version2Data(info) : version3Data(info);
}

function version2Data(info: Qcow2Info): SpecificData {
  return {
    compat: "0.10",
    "compression-type": info.compressionType,
    "refcount-bits": info.refcountBits,
    encrypt: encryption(info),
  };
}

function version3Data(info: Qcow2Info): SpecificData {
  return {
    compat: "1.1",
    "compression-type": info.compressionType,
    "lazy-refcounts": info.lazyRefcounts,
    "refcount-bits": info.refcountBits,
    corrupt: info.corrupt,
    "extended-l2": info.extendedL2,
    "data-file": info.dataFile,
    "data-file-raw": info.dataFile === undefined ? undefined : info.dataFileRaw,
    bitmaps:
      info.bitmaps.length === 0
        ? undefined
        : info.bitmaps.map(({ name, granularity, inUse, auto }) => ({
            name,
            granularity,
            flags: [...(inUse ? ["in-use"] : []), ...(auto ? ["auto"] : [])],
          })),
    encrypt: encryption(info),
  };
}

function encryption({ encryption: format }: Qcow2Info): { readonly format: string } | undefined {
  return format === "none" ? undefined : { format };
}

/** Nothing of the backing file is opened, so that options for it are left over. */
function assertNoBackingOptions({ given, node }: ImageName): void {
  const backing = node?.children.get("backing");
  if (backing === undefined || backing === null || typeof backing === "string") return;
  const [first = ""] = fullNames(backing);
  throw couldNotOpen(
    given,
    new CommandError(`Block format 'qcow2' does not support the option 'backing.${first}'`),
  );
}

/** What holds the image: a file, or parts of files that are named one within the other. */
async function describeStorage(
  name: ImageName,
  tree: NodeTree | string | null | undefined,
): Promise<ImageReport> {
  const below = typeof tree === "object" ? tree?.children.get("file") : undefined;
  if (typeof tree !== "object" || tree === null || below === undefined) return await describeFile(name);
  const file = await describeStorage(name, below);
  const { range } = nodeImage(tree, "raw");
  await using storage = await openImageStorage(name.path, { range, readOnly: true, locking: false });
  return {
    filename: nodeFilename(tree, "raw"),
    format: "raw",
    virtualSize: Math.ceil((await storage.size()) / SECTOR_BYTES) * SECTOR_BYTES,
    actualSize: file.actualSize,
    dirty: false,
    children: [{ name: "file", report: file }],
  };
}

const SECTOR_BYTES = 512;

/** The file that holds the image. Its length counts whole sectors, as everywhere in QEMU. */
async function describeFile(name: ImageName): Promise<ImageReport> {
  try {
    await using storage = await FileStorage.open(name.path, { readOnly: true, forceShare: true });
    return {
      filename: name.path,
      format: storage.kind === "block-device" ? "host_device" : "file",
      virtualSize: Math.ceil((await storage.size()) / SECTOR_BYTES) * SECTOR_BYTES,
      actualSize: await storage.allocatedBytes?.(),
      dirty: false,
      specific: { type: "file", data: {} },
      children: [],
    };
  } catch (error) {
    throw couldNotOpen(name.given, error);
  }
}

/** The backing file of the image just described; its name comes out of an image, so that only a path will do. */
function backingName({ backing }: ImageReport, from: ImageName): ImageName | undefined {
  if (backing === undefined) return undefined;
  const { fullFilename, filename, format } = backing;
  if (fullFilename === undefined) {
    throw new CommandError(
      `Could not determine absolute backing filename, but backing filename '${filename}' present`,
    );
  }
  return { given: fullFilename, path: plainPath(fullFilename), format, forceShare: from.forceShare };
}
