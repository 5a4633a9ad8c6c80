/** The work of `convert`: opens the sources, makes or opens the target, copies, and finishes or takes back. */
import { availableParallelism } from "node:os";
import { type ConvertOptions, convertDisk } from "@qcow2/convert";
import { type Codecs, type Disk, Qcow2Image, type WritableDisk } from "@qcow2/core";
import { bufferPrimitives, fileReferences, nodeCodecs, resolveBackingName } from "@qcow2/node";
import { ConcatenatedDisk } from "../disks/concatenated-disk.ts";
import { warnInPlace } from "../disks/in-place-warning.ts";
import { assertNoFileOf, assertNothingShared } from "../disks/layers.ts";
import { checkNewImage, createImage, type NewImage, newFilesOf } from "../disks/new-image.ts";
import { openImage, openWritable } from "../disks/open-image.ts";
import { requireCompressor } from "../disks/require-compressor.ts";
import { assertUnchanged } from "../disks/unchanged-sources.ts";
import { CommandError } from "../errors/command-errors.ts";
import { describeError, withPrefix } from "../errors/describe-error.ts";
import { imageOptionsOf } from "../options/qcow2-options.ts";
import type { ProgramName } from "../program.ts";
import type { ConvertRequest, ExistingTarget, NewTarget } from "./convert-request.ts";
import { assertTakesBitmaps, type BitmapsToCopy, bitmapsToCopy, copyBitmaps } from "./copy-bitmaps.ts";

export interface ConvertEvents {
  /** What hints call the command. */
  readonly program: ProgramName;
  readonly signal: AbortSignal;
  onProgress(done: number, total: number): void;
  /** False as long as nobody looks at the progress. */
  isWatched(): boolean;
  /** What the user should know, and goes on without. */
  onWarning(message: string): void;
}

/** @throws CommandError, Qcow2Error, the signal's reason; a new target is then not there, or is what it was. */
export async function convertImages(request: ConvertRequest, events: ConvertEvents): Promise<void> {
  if (request.target.kind === "new") checkNewTarget(request.target);
  const threads = Math.min(request.parallel ?? Number.POSITIVE_INFINITY, availableParallelism());
  await using codecs = nodeCodecs({ threads, level: request.level });
  const sources = await openSources(request, events, codecs);
  await using source = sources.length === 1 ? sources[0]! : new ConcatenatedDisk(sources);
  events.signal.throwIfAborted();
  const { target } = request;
  const bitmaps =
    request.bitmaps === "none"
      ? undefined
      : bitmapsToCopy(source, { skipBroken: request.bitmaps === "usable", program: events.program });
  for (const name of bitmaps?.skipped ?? []) events.onWarning(`Skipping inconsistent bitmap '${name}'`);
  const job = { request, source, sources, events, codecs, bitmaps };
  await (target.kind === "new" ? convertToNew(job, target) : convertInPlace(job, target));
}

function checkNewTarget(target: NewTarget): void {
  try {
    checkNewImage(target);
  } catch (error) {
    throw whileConverting(target, error);
  }
}

function whileConverting({ given, options }: NewTarget, error: unknown): unknown {
  return withPrefix(`${given}: error while converting ${options.format}: `, error);
}

interface Job {
  readonly request: ConvertRequest;
  readonly source: Disk;
  /** What `source` is made of. */
  readonly sources: readonly Disk[];
  readonly events: ConvertEvents;
  readonly codecs: Codecs;
  readonly bitmaps: BitmapsToCopy | undefined;
}

async function openSources(
  { sources, snapshot, sourceCache: cache, target }: ConvertRequest,
  { program, onWarning: warn }: ConvertEvents,
  codecs: Codecs,
): Promise<readonly Disk[]> {
  const targetPaths = target.kind === "new" ? newFilesOf(target) : [target.name.path];
  const opened: Disk[] = [];
  try {
    for (const name of sources) {
      const disk = await openImage(name, { snapshot, speaker: { program, warn }, codecs, cache });
      opened.push(disk);
      for (const path of targetPaths) await assertNoFileOf(disk, path, "the source image");
    }
  } catch (error) {
    for (const disk of opened) await disk.close();
    throw error;
  }
  return opened;
}

async function convertToNew(job: Job, target: NewTarget): Promise<void> {
  const { source, codecs } = job;
  const { options, path } = target;
  if (job.request.compress) {
    const type = imageOptionsOf(options).compressionType ?? "zlib";
    requireCompressor({ codecs, type, level: job.request.level });
  }
  options.set("size", String(source.size));
  const backing = await openBacking(target, codecs);
  let image: NewImage;
  try {
    image = await createImage({
      path,
      size: source.size,
      options,
      codecs,
      cache: job.request.targetCache,
      reads: [
        ...job.sources.map((disk) => ({ disk, role: "the source image" })),
        ...(backing === undefined ? [] : [{ disk: backing, role: "its own backing file" }]),
      ],
      onInPlace: warnInPlace(job.events),
      references: backing === undefined ? undefined : fileReferences({ codecs }),
    });
  } catch (error) {
    throw whileConverting(target, error);
  } finally {
    await backing?.close();
  }
  try {
    if (job.bitmaps !== undefined) assertTakesBitmaps(job.bitmaps, image.disk);
    await copy(job, {
      target: image.disk,
      targetIsZero: backing === undefined && image.isZero,
      ...(backing === undefined ? {} : { targetBacking: { size: backing.size } }),
    });
    if (job.bitmaps !== undefined) await copyBitmaps(job.bitmaps, image.disk, job.events.signal);
  } catch (error) {
    await image.abort();
    throw error;
  }
  await image.commit();
}

/** The target's backing file, opened to see that it is there and how large it is. */
async function openBacking(target: NewTarget, codecs: Codecs): Promise<Disk | undefined> {
  const { options, path } = target;
  const name = options.text("backing_file");
  if (name === undefined) return undefined;
  const backingPath = resolveBackingName(name, path);
  const format = options.text("backing_fmt");
  const disk = await openImage(
    { given: backingPath, path: backingPath, format, forceShare: false },
    { codecs },
  );
  try {
    for (const file of newFilesOf(target)) await assertNoFileOf(disk, file, "its own backing file");
  } catch (error) {
    await disk.close();
    throw error;
  }
  return disk;
}

async function convertInPlace(job: Job, target: ExistingTarget): Promise<void> {
  await using disk = await openWritable(target.name, job.codecs, { cache: job.request.targetCache });
  for (const source of job.sources) assertNothingShared(disk, source, "the source image");
  if (job.request.compress && disk instanceof Qcow2Image) {
    const { codecs, request } = job;
    requireCompressor({ codecs, type: disk.info().compressionType, level: request.level });
  }
  if (job.bitmaps !== undefined) assertTakesBitmaps(job.bitmaps, disk);
  if (disk.size < job.source.size) throw new CommandError("output file is smaller than input file");
  await copy(job, {
    target: disk,
    targetIsZero: target.isZero,
    ...(target.hasBacking ? { targetBacking: {} } : {}),
  });
  if (job.bitmaps !== undefined) await copyBitmaps(job.bitmaps, disk, job.events.signal);
}

type TargetPart = Pick<ConvertOptions, "target" | "targetIsZero" | "targetBacking">;

async function copy(job: Job, target: TargetPart): Promise<void> {
  try {
    await copyData(job, target);
    // Who lets others write meanwhile (-U) has been told what that means.
    const held = job.sources.filter((_, index) => job.request.sources[index]?.forceShare !== true);
    assertUnchanged(held, job.events);
    await target.target.flush();
  } catch (error) {
    throw withPrefix(`error while converting to '${job.request.target.given}': `, error);
  }
}

async function copyData({ request, source, events }: Job, target: TargetPart): Promise<void> {
  const compressing = request.compress ? { compress: true } : {};
  await convertDisk({
    ...target,
    ...compressing,
    source,
    clusterSize: clusterSizeOf(target.target),
    sparseBytes: request.sparseBytes,
    parallel: request.parallel,
    outOfOrder: request.outOfOrder,
    rateLimitBytesPerSecond: request.rateLimitBytesPerSecond,
    salvage: request.salvage,
    copyOffload: request.copyOffload,
    primitives: bufferPrimitives,
    signal: events.signal,
    onProgress: events.onProgress,
    isWatched: events.isWatched,
    onReadError: ({ offset, length, error }) => {
      const reason = describeError(error) ?? error.message;
      events.onWarning(`error while reading ${length} bytes at offset ${offset}: ${reason}`);
    },
  });
}

function clusterSizeOf(disk: WritableDisk): number | undefined {
  return disk instanceof Qcow2Image ? disk.info().clusterSize : undefined;
}
