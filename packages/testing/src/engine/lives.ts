/**
 * The whole life of an image, from its creation or from an opening on: any public methods, several at once, while storage
 * operations complete in any order; the image is closed, killed, opened again, and changed while only its metadata is
 * open. It holds what the calls in their order leave; every read, map and check sees a state in between.
 */
import { isQcow2Error, type Qcow2Image, type Storage } from "@qcow2/core";
import fc from "fast-check";
import { Random } from "../random.ts";
import { noteChange } from "./bitmap-model.ts";
import { engineOperationArbitrary } from "./engine-arbitraries.ts";
import { applyToImage, changeOf, type EngineOperation } from "./engine-operations.ts";
import { copyFiles, type EngineShape, openShape, type ShapeFiles, shapeNamed } from "./engine-shapes.ts";
import { expectImageState, type ImageState, imageStateOf } from "./image-state.ts";
import { Watchers } from "./life-watchers.ts";
import { expectEnd } from "./sound-image.ts";
import { Schedule, ScheduledStorage } from "./storage-schedule.ts";
import {
  fits,
  isRefusal,
  isTransaction,
  runTransaction,
  stateAfter,
  type Transaction,
  transactionArbitrary,
} from "./transaction-steps.ts";

/** What runs beside others. */
export type LifeStep = EngineOperation | Transaction | { readonly kind: Look };

/** What changes nothing. */
type Look = "read" | "map" | "check" | "dirty-ranges";

/** A change of the whole situation, with nothing else under way. */
export type LifeTurn =
  | { readonly kind: "reopen"; readonly cacheBytes: number }
  /** All steps are asked for, and closing at the same moment: what was asked for before it is done, and no more. */
  | { readonly kind: "close"; readonly steps: readonly LifeStep[] }
  /** After a flush, whoever has the image is gone without closing it. */
  | { readonly kind: "kill" }
  /** The change is made while nothing but the image file is open. */
  | { readonly kind: "metadata-only"; readonly change: Transaction };

/** As plain JSON. */
export interface LifeCase {
  /** The shape's name. */
  readonly shape: string;
  /** "created": the image goes on being used as it was created; "opened": it was closed, and is opened again. */
  readonly begins: "created" | "opened";
  /** Granularities of bitmaps that follow the disk from the start. */
  readonly bitmaps: readonly number[];
  /** The steps of a batch are asked for at once; one batch after the other. */
  readonly batches: readonly (readonly LifeStep[] | LifeTurn)[];
  /** Bytes of each table cache. */
  readonly cacheBytes: number;
  readonly discard: "ignore" | "unmap";
  /** Decides the order of completions. */
  readonly seed: number;
}

export function lifeCaseArbitrary(shape: EngineShape): fc.Arbitrary<LifeCase> {
  const cacheBytes = fc.constantFrom(1, 1, 4096, 2 ** 20);
  const looks = fc.constantFrom<Look[]>("read", "read", "read", "map", "check", "dirty-ranges");
  // What reads look at is given up while they do.
  const replacing = fc.constantFrom<Transaction[]>(
    { kind: "make-empty" },
    { kind: "create-snapshot" },
    { kind: "apply-snapshot", which: 0 },
    { kind: "apply-snapshot", which: 1 },
  );
  const transaction = transactionArbitrary(shape).filter(isOrdered);
  const step = fc.oneof<fc.WeightedArbitrary<LifeStep>[]>(
    { weight: 5, arbitrary: engineOperationArbitrary(shape) },
    { weight: 2, arbitrary: transaction },
    { weight: shape.hasDataFile ? 0 : 1, arbitrary: replacing },
    { weight: 3, arbitrary: looks.map((kind) => ({ kind })) },
  );
  const batch = fc.array(step, { minLength: 1, maxLength: 5 });
  const turn = fc.oneof<fc.Arbitrary<LifeTurn>[]>(
    cacheBytes.map((bytes) => ({ kind: "reopen" as const, cacheBytes: bytes })),
    fc.constant({ kind: "kill" as const }),
    batch.map((steps) => ({ kind: "close" as const, steps })),
    transactionArbitrary(shape).map((change) => ({ kind: "metadata-only" as const, change })),
  );
  return fc.record({
    shape: fc.constant(shape.name),
    begins: fc.constantFrom<LifeCase["begins"]>("created", "opened"),
    bitmaps: shape.version === 2 ? fc.constant([]) : fc.constantFrom([], [], [], [512], [512, 4096]),
    batches: fc.array(
      fc.oneof<fc.WeightedArbitrary<LifeCase["batches"][number]>[]>(
        { weight: 6, arbitrary: batch },
        { weight: 1, arbitrary: turn },
      ),
      { minLength: 1, maxLength: 14, size: "max" },
    ),
    cacheBytes,
    discard: fc.constantFrom<LifeCase["discard"]>("ignore", "unmap"),
    seed: fc.nat(2 ** 31 - 1),
  });
}

/** What a discard does depends on the version, and the model asks for that when a whole batch has ended. */
function isOrdered(transaction: Transaction): boolean {
  return transaction.kind !== "amend" || transaction.version === 3;
}

/** Runs the case; returns how many requests there were. `shape` is what its name stands for. */
export async function checkLife(
  drawn: LifeCase,
  shape: EngineShape = shapeNamed(drawn.shape),
): Promise<number> {
  const life = await Life.begin(drawn, shape);
  for (const [index, batch] of drawn.batches.entries()) {
    try {
      if ("kind" in batch) await life.turn(batch);
      else await life.run(batch);
    } catch (error) {
      throw new Error(`batch ${index}: ${(error as Error).message}`, { cause: error });
    }
  }
  return await life.end();
}

const LOOKS: ReadonlySet<string> = new Set<Look>(["read", "map", "check", "dirty-ranges"]);

type Outcome = "done" | "refused";

class Life {
  readonly #shape: EngineShape;
  readonly #drawn: LifeCase;
  readonly #random: Random;
  readonly #schedule: Schedule;
  #files: ShapeFiles;
  #image: Qcow2Image;
  #state: ImageState;
  #watchers: Watchers;
  #requests = 0;

  private constructor(
    { drawn, shape, random, schedule }: LifeSetting,
    {
      files,
      image,
      state,
    }: { readonly files: ShapeFiles; readonly image: Qcow2Image; readonly state: ImageState },
  ) {
    this.#shape = shape;
    this.#drawn = drawn;
    this.#random = random;
    this.#schedule = schedule;
    this.#files = files;
    this.#image = image;
    this.#state = state;
    this.#watchers = new Watchers(random, state);
  }

  static async begin(drawn: LifeCase, shape: EngineShape): Promise<Life> {
    const random = new Random(drawn.seed);
    const schedule = new Schedule(random);
    const setting = { drawn, shape, random, schedule };
    if (drawn.begins === "created" && shape.create !== undefined) {
      const { files, model, image } = await shape.create(
        (storage) => new ScheduledStorage(storage, schedule),
      );
      const life = new Life(setting, {
        files,
        image,
        state: stateOfNew(files, await model.read(0, shape.size)),
      });
      await life.#addBitmaps();
      return life;
    }
    const { files } = await shape.build();
    const image = await openLife(setting, files, drawn.cacheBytes);
    const life = new Life(setting, { files, image, state: await imageStateOf(files) });
    await life.#addBitmaps();
    return life;
  }

  async #addBitmaps(): Promise<void> {
    const actions = this.#drawn.bitmaps.map((granularity) => {
      return { kind: "add" as const, name: `b${granularity}`, granularity, enabled: true };
    });
    if (actions.length > 0) await this.run([{ kind: "bitmaps", actions }]);
  }

  /** Asks for all steps at once, and waits for them; reads may go on while later batches run. */
  async run(batch: readonly LifeStep[], { closes = false } = {}): Promise<void> {
    const asked = this.#state;
    const steps = this.#sensible(batch);
    const work = steps.map((step) => this.#ask(step, asked));
    this.#requests += steps.length;
    const closing = closes ? this.#image.close() : undefined;
    if (closes) await this.#expectRefused();
    const outcomes = await expectEnd(JSON.stringify(steps), Promise.all(work));
    for (const [index, step] of steps.entries()) {
      if (outcomes[index] === "refused" || step.kind === "flush") continue;
      this.#state = this.#stateAfter(step, asked);
      this.#watchers.add(this.#state);
    }
    await expectEnd("closing", closing ?? Promise.resolve());
    this.#watchers.endBatch();
  }

  /** Whoever asks after closing has begun. */
  async #expectRefused(): Promise<void> {
    const image = this.#image;
    const asked = [
      () => image.write({ offset: 0, from: new Uint8Array(Math.min(1, image.size)) }),
      () => image.flush(),
      () => image.check(),
      () => image.createSnapshot({ name: "late" }),
    ];
    for (const ask of asked) {
      const error = await ask().then(
        () => undefined,
        (reason: unknown) => reason,
      );
      if (!isQcow2Error(error, "closed")) throw new Error(`after closing had begun: ${String(error)}`);
    }
  }

  /** Leaves out what would have no defined order or outcome among the others. */
  #sensible(batch: readonly LifeStep[]): readonly LifeStep[] {
    const sizes = [this.#state.disk.length];
    const steps: LifeStep[] = [];
    for (const step of batch) {
      if (step.kind === "rename-backing" && steps.some(({ kind }) => kind === "rename-backing")) continue;
      const size = sizeAfter(step, this.#state);
      if (size !== undefined && size !== sizes[0]) {
        if (sizes.length > 1) continue;
        sizes.push(size);
      }
      steps.push(step);
    }
    return steps.filter((step) => !isOperation(step) || sizes.every((size) => fits(step, this.#shape, size)));
  }

  async #ask(step: LifeStep, asked: ImageState): Promise<Outcome> {
    const image = this.#image;
    if (isTransaction(step)) return await outcomeOf(runTransaction(step, asked, image));
    if (isOperation(step)) {
      await applyToImage(step, image);
      return "done";
    }
    if (step.kind === "dirty-ranges") this.#watchers.dirtyRanges(image);
    else this.#watchers[step.kind](image);
    // A look changes nothing.
    return "refused";
  }

  #stateAfter(step: LifeStep, asked: ImageState): ImageState {
    const state = this.#state;
    if (isTransaction(step)) return stateAfter(step, state, asked);
    if (!isOperation(step) || step.kind === "flush") return state;
    const noted = { ...state, bitmaps: noteChange(state.bitmaps, step) };
    const { version } = this.#image.info();
    const change = changeOf(step, { ...this.#shape, size: state.disk.length, version });
    if (change === undefined) return noted;
    const disk = state.disk.slice();
    disk.set(change.bytes, change.offset);
    return { ...noted, disk };
  }

  async turn(turn: LifeTurn): Promise<void> {
    await this.#watchers.end();
    if (turn.kind === "close") {
      await this.run(turn.steps, { closes: true });
      await this.#watchers.end();
      await expectImageState(this.#files, [this.#state], { noLeaks: true });
    } else if (turn.kind === "kill") {
      await this.#image.flush();
      const files = await copyFiles(this.#files);
      await this.#image.close();
      this.#files = files;
      await this.#expectBitmapsInUseOrTrue();
    } else {
      await this.#close();
      if (turn.kind === "metadata-only") await this.#changeMetadata(turn.change);
    }
    const cacheBytes = turn.kind === "reopen" ? turn.cacheBytes : this.#drawn.cacheBytes;
    this.#image = await openLife(this.#setting, this.#files, cacheBytes);
    this.#watchers = new Watchers(this.#random, this.#state);
  }

  get #setting(): LifeSetting {
    return { drawn: this.#drawn, shape: this.#shape, random: this.#random, schedule: this.#schedule };
  }

  /** Whoever did not close the image leaves bitmaps that say so, or that have missed nothing. */
  async #expectBitmapsInUseOrTrue(): Promise<void> {
    const found = await imageStateOf(this.#files);
    const inUse = new Set(found.bitmaps.filter(({ dirty }) => dirty === "in use").map(({ name }) => name));
    const bitmaps = this.#state.bitmaps.map((bitmap) =>
      inUse.has(bitmap.name) && bitmap.enabled ? { ...bitmap, dirty: "in use" as const } : bitmap,
    );
    this.#state = { ...this.#state, bitmaps };
    await expectImageState(this.#files, [this.#state], { noLeaks: true });
  }

  async #changeMetadata(change: Transaction): Promise<void> {
    const image = await openShape(this.#files, {
      metadataOnly: true,
      readOnly: false,
      discard: this.#drawn.discard,
      cacheBytes: this.#drawn.cacheBytes,
    });
    const outcome = await outcomeOf(runTransaction(change, this.#state, image));
    await image.close();
    if (outcome === "done") this.#state = stateAfter(change, this.#state);
    await expectImageState(this.#files, [this.#state], { noLeaks: true });
  }

  async #close(): Promise<void> {
    await expectEnd("closing", this.#image.close());
    await expectImageState(this.#files, [this.#state], { noLeaks: true });
  }

  async end(): Promise<number> {
    await this.#watchers.end();
    const disk = new Uint8Array(this.#image.size).fill(0xa5);
    await this.#image.read({ offset: 0, into: disk });
    if (Buffer.compare(disk, this.#state.disk) !== 0)
      throw new Error("at the end the disk reads differently");
    await this.#close();
    return this.#requests;
  }
}

interface LifeSetting {
  readonly drawn: LifeCase;
  readonly shape: EngineShape;
  readonly random: Random;
  readonly schedule: Schedule;
}

async function openLife(
  { drawn, schedule }: LifeSetting,
  files: ShapeFiles,
  cacheBytes: number,
): Promise<Qcow2Image> {
  const wrap = (storage: Storage): Storage => new ScheduledStorage(storage, schedule);
  return await openShape(files, { cacheBytes, discard: drawn.discard, wrap });
}

/** What an image holds that was just created and filled. */
function stateOfNew(files: ShapeFiles, disk: Uint8Array): ImageState {
  const below = files.backing?.toBytes() ?? new Uint8Array(0);
  return { disk, snapshots: [], below, backingName: files.backing && "backing", bitmaps: [] };
}

async function outcomeOf(work: Promise<void>): Promise<Outcome> {
  try {
    await work;
    return "done";
  } catch (error) {
    // A snapshot may have been deleted by whoever asked before.
    if (isRefusal(error) || isQcow2Error(error, "snapshot-not-found")) return "refused";
    throw error;
  }
}

function isOperation(step: LifeStep): step is EngineOperation {
  return !isTransaction(step) && !LOOKS.has(step.kind);
}

/** The disk's size after a step that may change it. */
function sizeAfter(step: LifeStep, { snapshots }: ImageState): number | undefined {
  if (step.kind === "resize") return step.size;
  if (step.kind !== "apply-snapshot") return undefined;
  return snapshots[step.which % snapshots.length]?.disk.length;
}
