/**
 * Changes of an image as a whole, such as taking a snapshot: after any operations, whatever fails and whenever the power
 * goes, the image holds what it did before or what it has to hold afterwards, all of it, and its check finds nothing.
 */
import {
  type BitmapAction,
  isQcow2Error,
  type Preallocation,
  type Qcow2Error,
  type Qcow2Image,
} from "@qcow2/core";
import fc from "fast-check";
import { Random } from "../random.ts";
import { applyActions, noteChange, resizeBitmaps } from "./bitmap-model.ts";
import { crashStates } from "./crash-states.ts";
import { Timeline, TimelineStorage } from "./disk-timeline.ts";
import { engineOperationArbitrary } from "./engine-arbitraries.ts";
import { applyToImage, changeOf, type EngineOperation } from "./engine-operations.ts";
import { copyFiles, type EngineShape, openShape, type ShapeFiles, shapeNamed } from "./engine-shapes.ts";
import { FAULT_KINDS, type Fault, FaultStorage } from "./fault-storage.ts";
import { expectDisk, expectImageState, type ImageState, imageStateOf } from "./image-state.ts";
import { expectEnd, expectNoCorruption } from "./sound-image.ts";

type Transaction =
  | { readonly kind: "create-snapshot" }
  | { readonly kind: "make-empty" }
  /** `which` is the index of a snapshot, modulo how many there are; without any, nothing happens. */
  | { readonly kind: "apply-snapshot" | "delete-snapshot"; readonly which: number }
  | { readonly kind: "resize"; readonly size: number; readonly preallocation: Preallocation }
  /** Another name for the same backing file; without one, nothing happens. */
  | { readonly kind: "rename-backing"; readonly length: number; readonly format: boolean }
  | { readonly kind: "amend"; readonly version: 2 | 3; readonly refcountBits: number }
  | { readonly kind: "bitmaps"; readonly actions: readonly BitmapAction[] };

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

/** Images with an external data file have no snapshots. */
export function transactionCaseArbitrary(shape: EngineShape): fc.Arbitrary<TransactionCase> {
  const which = fc.nat(7);
  const create = fc.constant<Transaction>({ kind: "create-snapshot" });
  const empty = fc.constant<Transaction>({ kind: "make-empty" });
  const others = fc
    .record({ kind: fc.constantFrom("apply-snapshot" as const, "delete-snapshot" as const), which })
    .map((drawn): Transaction => drawn);
  const header = fc.oneof<fc.Arbitrary<Transaction>[]>(
    fc.record({
      kind: fc.constant("resize" as const),
      size: fc.nat(Math.ceil((shape.size * 1.5) / 512)).map((sectors) => sectors * 512),
      preallocation: fc.constantFrom<Preallocation[]>("off", "off", "metadata", "falloc", "full"),
    }),
    fc.record({
      kind: fc.constant("rename-backing" as const),
      length: fc.integer({ min: 1, max: Math.min(1023, shape.clusterSize / 4) }),
      format: fc.boolean(),
    }),
    fc.record({
      kind: fc.constant("amend" as const),
      version: fc.constantFrom(2 as const, 3 as const),
      refcountBits: fc.constantFrom(1, 2, 8, 16, 16, 32, 64),
    }),
  );
  const bitmaps = fc.record({
    kind: fc.constant("bitmaps" as const),
    actions: fc.array(bitmapActionArbitrary(), { minLength: 1, maxLength: 3 }),
  });
  const transaction = shape.hasDataFile
    ? fc.oneof(
        { weight: 3, arbitrary: header },
        { weight: 3, arbitrary: bitmaps },
        { weight: 1, arbitrary: empty },
      )
    : fc.oneof(
        { weight: 3, arbitrary: create },
        { weight: 3, arbitrary: others },
        { weight: 3, arbitrary: header },
        { weight: 3, arbitrary: bitmaps },
        { weight: 1, arbitrary: empty },
      );
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

function bitmapActionArbitrary(): fc.Arbitrary<BitmapAction> {
  const name = fc.constantFrom("a", "b", "c");
  return fc.oneof<fc.Arbitrary<BitmapAction>[]>(
    fc.record({
      kind: fc.constant("add" as const),
      name,
      granularity: fc.constantFrom(512, 4096, 65536),
      enabled: fc.boolean(),
    }),
    fc.record({
      kind: fc.constantFrom("remove" as const, "clear" as const, "enable" as const, "disable" as const),
      name,
    }),
    fc.record({ kind: fc.constant("merge" as const), name, source: fc.constantFrom("a", "b", "c") }),
  );
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
    await run(step, state, image);
  } catch (error) {
    if (isRefusal(error)) return state;
    throw error;
  }
  return stateAfter(step, state);
}

/** More users of a cluster than its refcount can say, or what such an image cannot have: nothing was done. */
function isRefusal(error: unknown): boolean {
  if (isQcow2Error(error, "limit-exceeded")) return error.data.what === "refcount";
  if (isQcow2Error(error, "invalid-option")) return true;
  if (isQcow2Error(error, "bitmap-not-found")) return true;
  return isQcow2Error(error, "unsupported");
}

/** False for an operation that was drawn for another size than the disk has now, and makes no sense with this one. */
function fits(operation: EngineOperation, { clusterSize }: EngineShape, size: number): boolean {
  if (operation.kind === "flush") return true;
  const end = operation.offset + operation.length;
  if (operation.kind === "write-compressed" && end % clusterSize !== 0) return end === size;
  return end <= size;
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
  const counting = await runWithFault(drawn, await copyFiles(files), before, undefined);
  const places = FAULT_KINDS.flatMap((kind) =>
    Array.from({ length: counting.countOf(kind) }, (_, index) => ({ kind, at: index + 1 })),
  );
  const chosen = places.length <= points ? places : Array.from({ length: points }, () => random.pick(places));
  for (const place of chosen) {
    const fault: Fault = {
      ...place,
      role: "image",
      repeat: random.pick(["once", "once", "from-then-on"] as const),
      errno: random.pick(["EIO", "ENOSPC"] as const),
      torn: random.below(2) === 0,
    };
    try {
      await runWithFault(drawn, await copyFiles(files), before, fault);
    } catch (error) {
      throw new Error(`${JSON.stringify(fault)}: ${(error as Error).message}`, { cause: error });
    }
  }
  return chosen.length;
}

/** The transaction with one fault, and a second time if it fails. Answers the storage, for its counts. */
async function runWithFault(
  { last, cacheBytes, discard }: TransactionCase,
  files: ShapeFiles,
  before: ImageState,
  fault: Fault | undefined,
): Promise<FaultStorage> {
  let storage: FaultStorage | undefined;
  const open = (): Promise<Qcow2Image> =>
    openShape(files, {
      cacheBytes,
      discard,
      wrap: (inner, role) => {
        if (role !== "image") return inner;
        storage ??= new FaultStorage(inner, role, fault);
        return storage;
      },
    });
  const image = await open().catch((error: unknown) => {
    expectFromStorage(error);
    return fault?.repeat === "once" ? open() : undefined;
  });
  let outcome: Outcome = "undone";
  let closes = false;
  if (image !== undefined) {
    outcome = await attemptTwice(last, before, image);
    if (outcome === "undone" && fault?.repeat === "once")
      throw new Error("it failed again when it was tried again");
    if (outcome !== "unknown") await expectDiskUnlessFailing(image, before, last, outcome);
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
    unknown: () => [before, stateAfter(last, before)],
  }[outcome]();
  const noLeaks = closes && outcome !== "unknown" && fault?.repeat !== "from-then-on";
  await expectImageState(files, allowed, { noLeaks });
  return storage as FaultStorage;
}

/** "refused": the refcounts are too narrow; "unknown": the header may have been switched, and no change is taken. */
type Outcome = "done" | "refused" | "undone" | "unknown";

async function attemptTwice(last: Transaction, before: ImageState, image: Qcow2Image): Promise<Outcome> {
  const attempt = async (): Promise<unknown> => {
    try {
      await expectEnd(last.kind, run(last, before, image));
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

async function run(transaction: Transaction, state: ImageState, image: Qcow2Image): Promise<void> {
  if (transaction.kind === "create-snapshot") {
    await image.createSnapshot({ name: nameOfNext(state), date: new Date(1_700_000_000_000) });
    return;
  }
  if (transaction.kind === "resize") {
    const { size, preallocation } = transaction;
    const grows = size > image.size;
    await image.resize({ size, shrink: !grows, preallocation: grows ? preallocation : "off" });
    return;
  }
  if (transaction.kind === "bitmaps") {
    await image.changeBitmaps(transaction.actions);
    return;
  }
  if (transaction.kind === "amend") {
    const { version, refcountBits } = transaction;
    await image.amend({ version, refcountBits: version === 2 ? 16 : refcountBits, lazyRefcounts: false });
    return;
  }
  if (transaction.kind === "rename-backing") {
    if (state.backingName === undefined) return;
    const { length, format } = transaction;
    await image.setBackingFile({ name: "b".repeat(length), format: format ? "raw" : undefined });
    return;
  }
  if (transaction.kind === "make-empty") {
    await image.makeEmpty();
    return;
  }
  const { snapshots } = state;
  const id = snapshots[transaction.which % snapshots.length]?.id;
  if (id === undefined) return;
  if (transaction.kind === "apply-snapshot") await image.applySnapshot({ id });
  else await image.deleteSnapshot({ id });
}

function stateAfter(transaction: Transaction, state: ImageState): ImageState {
  const { disk, snapshots } = state;
  if (transaction.kind === "resize") {
    const resized = new Uint8Array(transaction.size);
    resized.set(disk.subarray(0, transaction.size));
    return { ...state, disk: resized, bitmaps: resizeBitmaps(state.bitmaps, transaction.size) };
  }
  if (transaction.kind === "amend") return state;
  if (transaction.kind === "bitmaps") {
    const bitmaps = applyActions(state.bitmaps, transaction.actions, state.disk.length);
    if (bitmaps === undefined) throw new Error("it did what has to be refused");
    return { ...state, bitmaps };
  }
  if (transaction.kind === "rename-backing") {
    return state.backingName === undefined
      ? state
      : { ...state, backingName: "b".repeat(transaction.length) };
  }
  if (transaction.kind === "create-snapshot") {
    return { ...state, snapshots: [...snapshots, { id: nextId(state), name: nameOfNext(state), disk }] };
  }
  if (transaction.kind === "make-empty") {
    const below = new Uint8Array(disk.length);
    below.set(state.below.subarray(0, disk.length));
    return { ...state, disk: below };
  }
  const chosen = snapshots[transaction.which % snapshots.length];
  if (chosen === undefined) return state;
  if (transaction.kind === "apply-snapshot") return { ...state, disk: chosen.disk };
  return { ...state, snapshots: snapshots.filter((snapshot) => snapshot !== chosen) };
}

function nextId({ snapshots }: ImageState): string {
  return String(Math.max(0, ...snapshots.map(({ id }) => Number(id))) + 1);
}

function nameOfNext(state: ImageState): string {
  return `snapshot ${nextId(state)}`;
}

const TRANSACTIONS: ReadonlySet<string> = new Set<Transaction["kind"]>([
  "create-snapshot",
  "apply-snapshot",
  "delete-snapshot",
  "resize",
  "rename-backing",
  "amend",
  "bitmaps",
  "make-empty",
]);

function isTransaction(step: EngineOperation | Transaction): step is Transaction {
  return TRANSACTIONS.has(step.kind);
}
