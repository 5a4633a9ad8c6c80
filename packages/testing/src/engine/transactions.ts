/**
 * Changes of an image as a whole, such as taking a snapshot: after any operations, whatever fails and whenever the power
 * goes, the image holds what it did before or what it has to hold afterwards, all of it, and its check finds nothing.
 */
import { isQcow2Error, type Qcow2Error, type Qcow2Image } from "@qcow2/core";
import fc from "fast-check";
import { Random } from "../random.ts";
import { noteChange } from "./bitmap-model.ts";
import { crashStates } from "./crash-states.ts";
import { Timeline, TimelineStorage } from "./disk-timeline.ts";
import { engineOperationArbitrary } from "./engine-arbitraries.ts";
import { applyToImage, changeOf, type EngineOperation } from "./engine-operations.ts";
import { copyFiles, type EngineShape, openShape, type ShapeFiles, shapeNamed } from "./engine-shapes.ts";
import { FAULT_KINDS, type Fault, FaultStorage } from "./fault-storage.ts";
import { type WrittenEnd, withEnd, writeEnd } from "./going-on.ts";
import { expectDisk, expectImageState, type ImageState, imageStateOf } from "./image-state.ts";
import { expectEnd, expectNoCorruption } from "./sound-image.ts";
import {
  fits,
  isRefusal,
  isTransaction,
  runTransaction,
  stateAfter,
  type Transaction,
  transactionArbitrary,
} from "./transaction-steps.ts";

/** As plain JSON. */
export interface TransactionCase {
  /** The shape's name. */
  readonly shape: string;
  readonly steps: readonly (EngineOperation | Transaction)[];
  /** What is interrupted. */
  readonly last: Transaction;
  /** Bytes of each table cache. */
  readonly cacheBytes: number;
  readonly discard: "ignore" | "unmap";
  /** Decides crash states and faults. */
  readonly seed: number;
}

export interface TransactionCaseOptions {
  /** Crash states of the last transaction that are looked at, about. */
  readonly states: number;
  /** Fault points of the last transaction that are tried, at most. */
  readonly points: number;
}

export function transactionCaseArbitrary(shape: EngineShape): fc.Arbitrary<TransactionCase> {
  const transaction = transactionArbitrary(shape);
  const step = fc.oneof<fc.Arbitrary<EngineOperation | Transaction>[]>(
    engineOperationArbitrary(shape),
    transaction,
  );
  return fc.record({
    shape: fc.constant(shape.name),
    steps: fc.array(step, { maxLength: 12, size: "max" }),
    last: transaction,
    cacheBytes: fc.constantFrom(1, 4096, 2 ** 20),
    discard: fc.constantFrom<TransactionCase["discard"]>("ignore", "unmap"),
    seed: fc.nat(2 ** 31 - 1),
  });
}

/** Runs the steps, and then the last transaction with power cuts and with faults. Returns how many of both. */
export async function checkTransaction(
  drawn: TransactionCase,
  options: TransactionCaseOptions,
): Promise<number> {
  const shape = shapeNamed(drawn.shape);
  const { files } = await shape.build();
  const before = await runSteps(drawn, shape, files);
  await expectImageState(files, [before], { noLeaks: true });
  const random = new Random(drawn.seed);
  const cuts = await checkCuts(drawn, files, before, { states: options.states, random });
  return cuts + (await checkFaultPoints(drawn, files, before, { points: options.points, random }));
}

async function runSteps(
  { steps, cacheBytes, discard }: TransactionCase,
  shape: EngineShape,
  files: ShapeFiles,
): Promise<ImageState> {
  let state = await imageStateOf(files);
  const image = await openShape(files, { cacheBytes, discard });
  for (const step of steps) {
    if (isTransaction(step)) {
      state = await expectAtOnce(step, state, image);
      await expectDisk(image, state);
      await expectNoCorruption(image, { noLeaks: true });
      continue;
    }
    if (!fits(step, shape, image.size)) continue;
    await applyToImage(step, image);
    if (step.kind !== "flush") state = { ...state, bitmaps: noteChange(state.bitmaps, step) };
    const change = changeOf(step, { ...shape, size: image.size, version: image.info().version });
    if (change === undefined) continue;
    const disk = state.disk.slice();
    disk.set(change.bytes, change.offset);
    state = { ...state, disk };
  }
  await expectDisk(image, state);
  await image.close();
  return state;
}

/** Runs a transaction that nothing disturbs; answers what the image holds now. */
async function expectAtOnce(step: Transaction, state: ImageState, image: Qcow2Image): Promise<ImageState> {
  try {
    await runTransaction(step, state, image);
  } catch (error) {
    if (isRefusal(error)) return state;
    throw error;
  }
  return stateAfter(step, state);
}

async function checkCuts(
  { last, cacheBytes, discard }: TransactionCase,
  files: ShapeFiles,
  before: ImageState,
  { states, random }: { readonly states: number; readonly random: Random },
): Promise<number> {
  const timeline = new Timeline();
  const changed = await copyFiles(files);
  const initial = files.image.toBytes();
  const image = await openShape(changed, {
    cacheBytes,
    discard,
    wrap: (storage, role) => new TimelineStorage(storage, { role, timeline, initial }),
  });
  const after = await expectAtOnce(last, before, image);
  const done = timeline.now;
  await image.close();
  await expectImageState(changed, [after], { noLeaks: true });
  let count = 0;
  for (const state of crashStates(timeline, files, states, random)) {
    try {
      // When it is over, it is durable.
      const allowed = state.at >= done ? [after] : [before, after];
      await expectImageState(state.files, allowed, { noLeaks: false });
    } catch (error) {
      throw new Error(`${state.description}: ${(error as Error).message}`, { cause: error });
    }
    count++;
  }
  return count;
}

async function checkFaultPoints(
  drawn: TransactionCase,
  files: ShapeFiles,
  before: ImageState,
  { points, random }: { readonly points: number; readonly random: Random },
): Promise<number> {
  const unharmed = { fault: undefined, retries: true, place: undefined };
  const counting = await runWithFault(drawn, await copyFiles(files), before, unharmed);
  // By kind: those of which there are few are met as often as others.
  const kinds = counting
    .flatMap((storage) =>
      FAULT_KINDS.map((kind) =>
        Array.from({ length: storage.countOf(kind) }, (_, index) => {
          return { role: storage.role, kind, at: index + 1 };
        }),
      ),
    )
    .filter((places) => places.length > 0);
  const places = kinds.flat();
  const chosen =
    places.length <= points ? places : Array.from({ length: points }, () => random.pick(random.pick(kinds)));
  for (const place of chosen) {
    const fault: Fault = {
      ...place,
      repeat: random.pick(["once", "once", "from-then-on"] as const),
      errno: random.pick(["EIO", "ENOSPC"] as const),
      torn: random.below(2) === 0,
    };
    const harm: Harm = {
      fault,
      retries: random.below(3) > 0,
      place: random.below(2) === 0 ? undefined : random.below(1000) / 1000,
    };
    try {
      await runWithFault(drawn, await copyFiles(files), before, harm);
    } catch (error) {
      throw new Error(`${JSON.stringify(harm)}: ${(error as Error).message}`, { cause: error });
    }
  }
  return chosen.length;
}

/** What fails, and what is done then. */
interface Harm {
  readonly fault: Fault | undefined;
  /** What failed is tried again. */
  readonly retries: boolean;
  /** From where on the disk is written anew afterwards, from 0 and below 1. */
  readonly place: number | undefined;
}

/** The transaction with one fault, and a second time if it fails. Answers the storages, for their counts. */
async function runWithFault(
  { last, cacheBytes, discard }: TransactionCase,
  files: ShapeFiles,
  before: ImageState,
  { fault, retries, place }: Harm,
): Promise<readonly FaultStorage[]> {
  const storages = new Map<Fault["role"], FaultStorage>();
  const open = (): Promise<Qcow2Image> =>
    openShape(files, {
      cacheBytes,
      discard,
      wrap: (inner, role) => {
        const storage = storages.get(role) ?? new FaultStorage(inner, role, fault);
        storages.set(role, storage);
        return storage;
      },
    });
  const image = await open().catch((error: unknown) => {
    expectFromStorage(error);
    return fault?.repeat === "once" ? open() : undefined;
  });
  let outcome: Outcome = "undone";
  let closes = false;
  let written: WrittenEnd | undefined;
  if (image !== undefined) {
    outcome = retries ? await attemptTwice(last, before, image) : await attemptOnce(last, before, image);
    // A data file is cut off when the image has its new size; when that fails, it has it all the same.
    if (outcome === "undone" && fault?.role === "data" && fault.kind === "truncate") outcome = "unknown";
    if (outcome === "undone" && retries && fault?.repeat === "once")
      throw new Error("it failed again when it was tried again");
    if (outcome !== "unknown") await expectDiskUnlessFailing(image, before, last, outcome);
    // Who does not close an image leaves bitmaps that follow it in use.
    const follow = last.kind === "bitmaps" || image.info().bitmaps.some(({ auto }) => auto);
    if (place !== undefined && !follow) {
      written = await writeEnd(image, place);
    }
    closes = await image.close().then(
      () => true,
      (error: unknown) => {
        expectFromStorage(error);
        return false;
      },
    );
  }
  const allowed = {
    done: () => [stateAfter(last, before)],
    refused: () => [before],
    undone: () => [before],
    unknown: () => [before, ...statesIfDone(last, before)],
  }[outcome]();
  const allowedNow =
    written === undefined ? allowed : withEnd(allowed, written, (await imageStateOf(files)).disk);
  const noLeaks = closes && outcome !== "unknown" && fault?.repeat !== "from-then-on";
  await expectImageState(files, allowedNow, { noLeaks });
  return [...storages.values()];
}

/** What the image holds if nothing failed; nothing for what has to be refused, and failed before that was found. */
function statesIfDone(last: Transaction, before: ImageState): readonly ImageState[] {
  try {
    return [stateAfter(last, before)];
  } catch {
    return [];
  }
}

/**
 * "refused": the refcounts are too narrow; "unknown": the header may have been switched, or a flush failed, after which no
 * change is taken.
 */
type Outcome = "done" | "refused" | "undone" | "unknown";

async function attemptOnce(last: Transaction, before: ImageState, image: Qcow2Image): Promise<Outcome> {
  try {
    await expectEnd(last.kind, runTransaction(last, before, image));
    return "done";
  } catch (error) {
    if (isRefusal(error)) return "refused";
    expectFromStorage(error);
    // The switch may have come about, and the new tables may not have been read.
    return "unknown";
  }
}

async function attemptTwice(last: Transaction, before: ImageState, image: Qcow2Image): Promise<Outcome> {
  const attempt = async (): Promise<unknown> => {
    try {
      await expectEnd(last.kind, runTransaction(last, before, image));
      return undefined;
    } catch (error) {
      return error;
    }
  };
  let failure = await attempt();
  if (failure === undefined) return "done";
  if (isRefusal(failure)) return "refused";
  expectFromStorage(failure);
  const first = failure as Qcow2Error<"io">;
  failure = await attempt();
  if (failure === undefined) return "done";
  if (isRefusal(failure)) return "refused";
  if (failure !== first) {
    expectFromStorage(failure);
    return "undone";
  }
  // It refuses changes where nobody knows which header the disk has, or where the new tables could not be read.
  const { operation, offset = 0 } = first.data;
  if (operation !== "write" || offset < 512) return "unknown";
  throw new Error(`the image takes no more changes after a failed ${operation} at ${offset}`);
}

async function expectDiskUnlessFailing(
  image: Qcow2Image,
  before: ImageState,
  last: Transaction,
  outcome: Outcome,
): Promise<void> {
  try {
    await expectDisk(image, outcome === "done" ? stateAfter(last, before) : before);
  } catch (error) {
    if (!isQcow2Error(error)) throw error;
    expectFromStorage(error);
  }
}

/** A failure of the storage is an "io" error, with the host's reason. */
function expectFromStorage(error: unknown): void {
  if (isQcow2Error(error, "io") && error.data.errno !== undefined) return;
  throw error;
}
