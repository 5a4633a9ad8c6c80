/** The work of `rebase`: opens the overlay and its new backing file, copies what differs, and records the new name. */
import { rebaseDisk } from "@qcow2/convert";
import { type Codecs, type Disk, isQcow2Error, Qcow2Image, type WritableDisk } from "@qcow2/core";
import { backingPathOf, bufferPrimitives, type CacheMode, nodeCodecs, resolveBackingName } from "@qcow2/node";
import { assertNothingShared, depthOfLayer, identityOf, layerFileNames } from "../disks/layers.ts";
import { openImage, openWritable } from "../disks/open-image.ts";
import { requireCompressor } from "../disks/require-compressor.ts";
import { describeSnapshotsAbove } from "../disks/snapshots-above.ts";
import { assertUnchanged } from "../disks/unchanged-sources.ts";
import { CommandError } from "../errors/command-errors.ts";
import { unnested, withPrefix } from "../errors/describe-error.ts";
import { errnoText } from "../errors/errno-text.ts";
import type { ImageName } from "../options/image-name.ts";
import type { ProgramName } from "../program.ts";
import { assertFormatName } from "./format-names.ts";

export interface RebaseRequest {
  readonly name: ImageName;
  /** As it is to be recorded; undefined for none. */
  readonly backing: string | undefined;
  readonly backingFormat: string | undefined;
  /** Change the header only. */
  readonly unsafe: boolean;
  /** Whatever the internal snapshots read afterwards. */
  readonly force: boolean;
  readonly warn: (message: string) => void;
  readonly compress: boolean;
  /** Of the compression; undefined for the library's own. */
  readonly level: number | undefined;
  /** For the new backing file. */
  readonly forceShare: boolean;
  /** For the image and its backing files as they are, and for the new backing file. */
  readonly cache: CacheMode | undefined;
  readonly backingCache: CacheMode | undefined;
  readonly program: ProgramName;
}

export interface RebaseEvents {
  readonly signal: AbortSignal;
  onProgress(done: number, total: number): void;
}

/** @throws CommandError, Qcow2Error, the signal's reason; the image then has its old backing file and content. */
export async function rebaseImage(request: RebaseRequest, events: RebaseEvents): Promise<void> {
  const { name, backing, backingFormat, unsafe } = request;
  await using codecs = nodeCodecs({ level: request.level });
  const overlay = await openWritable(name, codecs, { metadataOnly: unsafe, cache: request.cache });
  try {
    if (request.compress) assertCompresses(overlay, codecs, request.level);
    if (backingFormat !== undefined) assertFormatName(backingFormat);
    if (!(overlay instanceof Qcow2Image)) throw couldNotChange(request, "Operation not supported");
    if (backing !== undefined) await assertNoLoop(overlay, request, backing);
    await (unsafe
      ? recordBacking(overlay, request, undefined)
      : rebaseSafely({ overlay, request, events, codecs }));
  } finally {
    await overlay.close();
  }
}

interface Job {
  readonly overlay: Qcow2Image;
  readonly request: RebaseRequest;
  readonly events: RebaseEvents;
  readonly codecs: Codecs;
}

async function rebaseSafely({ overlay, request, events, codecs }: Job): Promise<void> {
  warnOfSnapshots(overlay, request);
  const backing = await openNewBacking(request, codecs);
  try {
    if (backing !== undefined) assertNothingShared(overlay, backing, "the new backing file's chain");
    assertFormatGiven(request);
    await rebaseDisk({
      overlay,
      backing,
      sharedDepth: await sharedDepthOf(overlay, backing),
      compress: request.compress,
      onProgress: events.onProgress,
      signal: events.signal,
      primitives: bufferPrimitives,
    });
    const read = backing === undefined || request.forceShare ? [overlay] : [overlay, backing];
    assertUnchanged(read, {
      program: request.program,
      onWarning: (message) => request.warn(`warning: ${message}`),
    });
    await recordBacking(overlay, request, backing);
  } catch (error) {
    await backing?.close();
    throw error;
  }
}

/** Only the active disk is given what it shows. @throws CommandError if there are snapshots, unless told otherwise */
function warnOfSnapshots(overlay: Qcow2Image, { backing, force, program, warn }: RebaseRequest): void {
  if (overlay.backing === undefined && backing === undefined) return;
  const snapshots = force ? undefined : describeSnapshotsAbove(overlay, 1);
  if (snapshots === undefined) return;
  if (program !== "qemu-img") {
    throw new CommandError(`${snapshots}; nothing was done (--force rebases all the same)`);
  }
  warn(`warning: ${snapshots}`);
}

async function openNewBacking(
  { name, backing, backingFormat, forceShare, backingCache: cache }: RebaseRequest,
  codecs: Codecs,
): Promise<Disk | undefined> {
  if (backing === undefined) return undefined;
  try {
    const path = resolveBackingName(backing, name.path);
    return await openImage({ given: path, path, format: backingFormat, forceShare }, { codecs, cache });
  } catch (error) {
    throw withPrefix(`Could not open new backing file '${backing}': `, unnested(error));
  }
}

/** The layer of the overlay's own chain that the new backing file is, if it is read as what it is there. */
async function sharedDepthOf(overlay: Disk, backing: Disk | undefined): Promise<number | undefined> {
  if (backing === undefined) return undefined;
  const depth = await depthOfLayer(overlay, backing.name);
  if (depth === undefined) return undefined;
  let layer: Disk | undefined = overlay;
  for (let left = depth; left > 0; left--) layer = layer instanceof Qcow2Image ? layer.backing : undefined;
  return layer?.format === backing.format ? depth : undefined;
}

/** `disk` is the new backing file, which belongs to the overlay from then on; undefined if it was not opened. */
async function recordBacking(
  overlay: Qcow2Image,
  request: RebaseRequest,
  disk: Disk | undefined,
): Promise<void> {
  const { backing, backingFormat } = request;
  assertFormatGiven(request);
  try {
    await overlay.setBackingFile(
      backing === undefined ? undefined : { name: backing, format: backingFormat, disk },
    );
  } catch (error) {
    throw withPrefix(
      couldNotChange(request, "").message,
      request.program === "qemu-img" ? inQemuWords(error) : error,
    );
  }
}

/** qemu-img tells of a name that is too long without saying so. */
function inQemuWords(error: unknown): unknown {
  if (!isQcow2Error(error, "invalid-option")) return error;
  const { reason } = error.data;
  if (reason === "name-too-long") return new CommandError(errnoText("EINVAL"), { cause: error });
  if (reason === "header-full") return new CommandError("No space left in the file header", { cause: error });
  return error;
}

function assertCompresses(overlay: WritableDisk, codecs: Codecs, level: number | undefined): void {
  if (!(overlay instanceof Qcow2Image)) {
    throw new CommandError("Compression not supported for this file format");
  }
  requireCompressor({ codecs, type: overlay.info().compressionType, level });
}

function assertFormatGiven(request: RebaseRequest): void {
  if (request.backing !== undefined && request.backingFormat === undefined) {
    throw couldNotChange(request, "backing format must be specified");
  }
}

/** A chain that comes back to the image has no content, and nobody can open it any more. */
async function assertNoLoop(
  disk: Disk,
  { name, backingFormat }: RebaseRequest,
  backing: string,
): Promise<void> {
  // The image, and the file that its guest data is in.
  const own = [await identityOf(name.path), await identityOf(layerFileNames(disk)[0] ?? name.path)];
  const seen = new Set<string>();
  for (let file = pathOf(backing, name.path); file !== undefined; ) {
    const identity = await identityOf(file);
    if (identity === undefined || seen.has(identity)) return;
    if (own.includes(identity)) {
      const why =
        identity === own[0]
          ? `the chain would come back to '${name.given}'`
          : `it is the data file of '${name.given}'`;
      throw new CommandError(`Could not change the backing file to '${backing}': ${why}`);
    }
    seen.add(identity);
    // A raw image leads nowhere, whatever its first bytes look like.
    file = seen.size === 1 && backingFormat === "raw" ? undefined : await backingPathOf(file);
  }
}

/** Undefined for names that are not those of local files, which can be recorded, but not looked at. */
function pathOf(backing: string, from: string): string | undefined {
  try {
    return resolveBackingName(backing, from);
  } catch (error) {
    if (isQcow2Error(error)) return undefined;
    throw error;
  }
}

function couldNotChange({ backing }: RebaseRequest, reason: string): CommandError {
  return new CommandError(`Could not change the backing file to '${backing ?? "(null)"}': ${reason}`);
}
