/** Changes of an image as a whole as plain JSON, what each does to an image, and what the image has to hold afterwards. */
import { type BitmapAction, isQcow2Error, type Preallocation, type Qcow2Image } from "@qcow2/core";
import fc from "fast-check";
import { applyActions, resizeBitmaps } from "./bitmap-model.ts";
import type { EngineOperation } from "./engine-operations.ts";
import type { EngineShape } from "./engine-shapes.ts";
import type { ImageState } from "./image-state.ts";

export type Transaction =
  | { readonly kind: "create-snapshot" }
  | { readonly kind: "make-empty" }
  /** `which` is the index of a snapshot, modulo how many there are; without any, nothing happens. */
  | { readonly kind: "apply-snapshot" | "delete-snapshot"; readonly which: number }
  | { readonly kind: "resize"; readonly size: number; readonly preallocation: Preallocation }
  /** Another name for the same backing file; without one, nothing happens. */
  | { readonly kind: "rename-backing"; readonly length: number; readonly format: boolean }
  | { readonly kind: "amend"; readonly version: 2 | 3; readonly refcountBits: number }
  | { readonly kind: "bitmaps"; readonly actions: readonly BitmapAction[] };

/** Images with an external data file have no snapshots. */
export function transactionArbitrary(shape: EngineShape): fc.Arbitrary<Transaction> {
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
  return shape.hasDataFile
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

/** More users of a cluster than its refcount can say, or what such an image cannot have: nothing was done. */
export function isRefusal(error: unknown): boolean {
  if (isQcow2Error(error, "limit-exceeded")) return error.data.what === "refcount";
  if (isQcow2Error(error, "invalid-option")) return true;
  if (isQcow2Error(error, "bitmap-not-found") || isQcow2Error(error, "bitmap-in-use")) return true;
  return isQcow2Error(error, "unsupported");
}

/** False for an operation that was drawn for another size than the disk has now, and makes no sense with this one. */
export function fits(operation: EngineOperation, { clusterSize }: EngineShape, size: number): boolean {
  if (operation.kind === "flush") return true;
  const end = operation.offset + operation.length;
  if (operation.kind === "write-compressed" && end % clusterSize !== 0) return end === size;
  return end <= size;
}

/** Runs it on an image that holds `state`; what is left open in the transaction is decided by that. */
export async function runTransaction(
  transaction: Transaction,
  state: ImageState,
  image: Qcow2Image,
): Promise<void> {
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

/** What the image holds afterwards. `asked`: what it held when the transaction was asked for, if that was earlier. */
export function stateAfter(
  transaction: Transaction,
  state: ImageState,
  asked: ImageState = state,
): ImageState {
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
    return { ...state, snapshots: [...snapshots, { id: nextId(state), name: nameOfNext(asked), disk }] };
  }
  if (transaction.kind === "make-empty") {
    const below = new Uint8Array(disk.length);
    below.set(state.below.subarray(0, disk.length));
    return { ...state, disk: below };
  }
  const wanted = asked.snapshots[transaction.which % asked.snapshots.length];
  if (wanted === undefined) return state;
  const chosen = snapshots.find(({ id }) => id === wanted.id);
  if (chosen === undefined) throw new Error("it found a snapshot that is not there");
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

export function isTransaction(step: { readonly kind: string }): step is Transaction {
  return TRANSACTIONS.has(step.kind);
}
