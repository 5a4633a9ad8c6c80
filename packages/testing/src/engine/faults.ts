/**
 * Failing storages and codecs: one operation, or all from one on, fails. The error reaches the caller, from a storage as a
 * `Qcow2Error`; what did not fail is done; what failed once succeeds when it is tried again, except a flush: nobody knows
 * what it left, so that from then on no flush, and no closing, says that all is well. And the image is never corrupt.
 */
import { isQcow2Error, type Qcow2Image, type Storage } from "@qcow2/core";
import { Random } from "../random.ts";
import type { EngineCase } from "./engine-cases.ts";
import { applyToImage, changeOf, type EngineOperation } from "./engine-operations.ts";
import { type EngineShape, openShape, type ShapeFiles, shapeNamed } from "./engine-shapes.ts";
import { CODEC_KINDS, CodecFailure, type CodecFault, FaultCodecs } from "./fault-codecs.ts";
import { FAULT_KINDS, type Fault, FaultStorage } from "./fault-storage.ts";
import { SectorCandidates } from "./sector-candidates.ts";
import { separateBatches } from "./separate-batches.ts";
import { expectEnd, expectNoCorruption, readAll } from "./sound-image.ts";

export interface FaultsOptions {
  /** Fault points that are tried, at most. */
  readonly points: number;
}

/** Runs the case with one fault after the other; returns how many. */
export async function checkFaults(drawn: EngineCase, { points }: FaultsOptions): Promise<number> {
  const random = new Random(drawn.seed);
  const counting = new FaultyHost(undefined);
  await runWithFault(drawn, undefined, counting);
  const places = counting.places();
  const chosen = places.length <= points ? places : Array.from({ length: points }, () => random.pick(places));
  for (const place of chosen) {
    const repeat = random.pick(["once", "once", "from-then-on"] as const);
    const errno = random.pick(["EIO", "ENOSPC"] as const);
    const torn = random.below(2) === 0;
    const fault: AnyFault =
      place.role === "codec"
        ? { ...place, repeat, way: torn ? "throws" : "short" }
        : { ...place, repeat, errno, torn };
    try {
      await runWithFault(drawn, fault, new FaultyHost(fault));
    } catch (error) {
      throw new Error(`${JSON.stringify(fault)}: ${(error as Error).message}`, { cause: error });
    }
  }
  return chosen.length;
}

type AnyFault = Fault | CodecFault;
type Place = Pick<Fault, "role" | "kind" | "at"> | Pick<CodecFault, "role" | "kind" | "at">;

/** What the image stands on, for as many attempts at opening it as there are: a fault comes once for all of them. */
class FaultyHost {
  readonly codecs: FaultCodecs;
  readonly #fault: AnyFault | undefined;
  readonly #storages = new Map<Fault["role"], FaultStorage>();

  constructor(fault: AnyFault | undefined) {
    this.#fault = fault;
    this.codecs = new FaultCodecs(fault?.role === "codec" ? fault : undefined);
  }

  wrap(storage: Storage, role: Fault["role"]): Storage {
    const fault = this.#fault?.role === "codec" ? undefined : this.#fault;
    const wrapped = this.#storages.get(role) ?? new FaultStorage(storage, role, fault);
    this.#storages.set(role, wrapped);
    return wrapped;
  }

  /** How many operations of the fault's kind there were. */
  countOf(fault: AnyFault): number {
    if (fault.role === "codec") return this.codecs.countOf(fault.kind);
    return this.#storages.get(fault.role)?.countOf(fault.kind) ?? 0;
  }

  /** All operations that there were. */
  places(): readonly Place[] {
    const places: Place[] = [];
    for (const [role, storage] of this.#storages) {
      for (const kind of FAULT_KINDS) {
        for (let at = 1; at <= storage.countOf(kind); at++) places.push({ role, kind, at });
      }
    }
    for (const kind of CODEC_KINDS) {
      for (let at = 1; at <= this.codecs.countOf(kind); at++) places.push({ role: "codec", kind, at });
    }
    return places;
  }
}

async function runWithFault(drawn: EngineCase, fault: AnyFault | undefined, host: FaultyHost): Promise<void> {
  const shape = shapeNamed(drawn.shape);
  const { files, model } = await shape.build();
  const candidates = new SectorCandidates(await model.read(0, shape.size));
  const image = await openWithFault(files, drawn, fault, host);
  let isClosed = false;
  if (image !== undefined) {
    for (const batch of separateBatches(drawn.batches, shape)) {
      await runBatch(image, shape, batch, candidates, fault);
    }
    await expectLive(image, candidates);
    const wasMet = fault !== undefined && host.countOf(fault) >= fault.at;
    isClosed = await succeeds("close", image.close());
    if (!isClosed && fault === undefined) throw new Error("closing failed without a fault");
    if (isClosed && wasMet && fault?.kind === "flush")
      throw new Error("closing succeeded after a failed flush");
  }
  await expectReopened(files, candidates, {
    isClosed,
    noLeaks: isClosed && fault?.repeat !== "from-then-on",
  });
}

/** The open image; undefined if opening failed even when it was tried again. */
async function openWithFault(
  files: ShapeFiles,
  { cacheBytes, discard }: EngineCase,
  fault: AnyFault | undefined,
  host: FaultyHost,
): Promise<Qcow2Image | undefined> {
  const open = (): Promise<Qcow2Image> =>
    openShape(files, {
      cacheBytes,
      discard,
      codecs: host.codecs.codecs,
      wrap: (storage, role) => host.wrap(storage, role),
    });
  try {
    return await expectEnd("opening", open());
  } catch (error) {
    expectTyped("opening", error);
    if (fault?.repeat === "from-then-on") return undefined;
    return await expectEnd("opening again", open());
  }
}

async function runBatch(
  image: Qcow2Image,
  shape: EngineShape,
  batch: readonly EngineOperation[],
  candidates: SectorCandidates,
  fault: AnyFault | undefined,
): Promise<void> {
  const attempt = async (operation: EngineOperation): Promise<boolean> => {
    const isDone = await succeeds(operation.kind, applyToImage(operation, image));
    const change = changeOf(operation, shape);
    if (change !== undefined) {
      candidates.apply(change.offset, change.bytes, isDone ? "succeeded" : "failed");
    }
    return isDone;
  };
  const outcomes = await Promise.all(batch.map(attempt));
  for (const [index, isDone] of outcomes.entries()) {
    const operation = batch[index] as EngineOperation;
    if (isDone) continue;
    const succeedsNow = await attempt(operation);
    if (fault?.kind === "flush") {
      if (succeedsNow) throw new Error(`${operation.kind} succeeded after a failed flush`);
      continue;
    }
    if (succeedsNow || fault?.repeat === "from-then-on") continue;
    throw new Error(`${operation.kind} failed again when it was tried again`);
  }
  const flushedAlone = batch.length === 1 && batch[0]?.kind === "flush" && outcomes[0] === true;
  if (flushedAlone) candidates.flushed();
}

/** Reading may fail as well; what it answers must be right. */
async function expectLive(image: Qcow2Image, candidates: SectorCandidates): Promise<void> {
  try {
    candidates.expectAllowed(await expectEnd("reading", readAll(image)), "now");
  } catch (error) {
    if (!isQcow2Error(error)) throw error;
  }
}

async function expectReopened(
  files: ShapeFiles,
  candidates: SectorCandidates,
  { isClosed, noLeaks }: { readonly isClosed: boolean; readonly noLeaks: boolean },
): Promise<void> {
  const image = await openShape(files, { readOnly: true });
  candidates.expectAllowed(await readAll(image), isClosed ? "now" : "since-flush");
  await expectNoCorruption(image, { noLeaks });
  await image.close();
}

async function succeeds(what: string, work: Promise<unknown>): Promise<boolean> {
  try {
    await expectEnd(what, work);
    return true;
  } catch (error) {
    expectTyped(what, error);
    return false;
  }
}

/** A failure of the storage is an "io" error, with the host's reason; one of a codec that compresses is its own. */
function expectTyped(what: string, error: unknown): void {
  if (isQcow2Error(error, "decompress-failed") || error instanceof CodecFailure) return;
  if (isQcow2Error(error, "io") && error.data.errno !== undefined) return;
  throw new Error(`${what} failed with ${String(error)}`, { cause: error });
}
