/**
 * Power cuts: what the disk may hold when the power goes at any moment of a sequence of operations, and what has to be
 * true of it then.
 *
 * A write is durable once a flush of its file, issued after the write had completed, has completed. At the moment of the
 * cut every durable write is on the disk; of the others any part may be, in any order, each torn at 512 bytes. Growth
 * of the file by a write that is not there is lost with it.
 */
import { MemoryStorage } from "@qcow2/core";
import { Random } from "../random.ts";
import { type DiskEvent, type DiskWrite, FileContent, Timeline, TimelineStorage } from "./disk-timeline.ts";
import type { EngineCase } from "./engine-cases.ts";
import { applyToImage, changeOf, type EngineOperation } from "./engine-operations.ts";
import {
  type BuiltShape,
  type EngineShape,
  openShape,
  type ShapeFiles,
  shapeNamed,
} from "./engine-shapes.ts";
import { SectorHistory } from "./sector-history.ts";
import { separateBatches } from "./separate-batches.ts";
import { expectNoCorruption, readAll } from "./sound-image.ts";

/** The image's header begins in the first of these; disks write them whole or not at all. */
const SECTOR = 512;

/** A state that the power cut may leave. */
export interface CrashState {
  /** The files as they may be. */
  readonly files: ShapeFiles;
  /** How it came about, for messages. */
  readonly description: string;
}

export interface PowerCutOptions {
  /** Crash states that are looked at, at most. */
  readonly states: number;
  /** Called with each state after it was found to be good. */
  readonly onState?: (state: CrashState) => Promise<void>;
}

/** A cut after event `at` of the timeline, and what decides which writes reached the disk. */
interface Cut {
  readonly at: number;
  /** Of what was begun and is not durable: which writes reached the disk. */
  readonly choice: "nothing" | "everything" | "newest" | "drawn";
}

/** Runs the case once, and then looks at states that a power cut may leave. Returns how many. */
export async function checkPowerCuts(drawn: EngineCase, options: PowerCutOptions): Promise<number> {
  const shape = shapeNamed(drawn.shape);
  const built = await shape.build();
  const recording = await record(drawn, shape, built);
  const random = new Random(drawn.seed);
  const disks = new CrashDisks(recording.timeline, recording.initial);
  const cuts = drawCuts(recording.timeline, options.states, random);
  for (const cut of cuts) {
    const state = disks.cut(cut, random);
    try {
      await expectSound(state.files, recording.history, cut.at, random);
    } catch (error) {
      throw new Error(`${state.description}: ${(error as Error).message}`, { cause: error });
    }
    await options.onState?.(state);
  }
  return cuts.length;
}

interface Recording {
  readonly timeline: Timeline;
  readonly history: SectorHistory;
  readonly initial: ShapeFiles;
}

async function record(
  drawn: EngineCase,
  shape: EngineShape,
  { files, model }: BuiltShape,
): Promise<Recording> {
  const initial: ShapeFiles = {
    image: copyOf(files.image),
    data: files.data && copyOf(files.data),
    backing: files.backing,
  };
  const timeline = new Timeline();
  const history = new SectorHistory(await model.read(0, shape.size));
  const image = await openShape(files, {
    cacheBytes: drawn.cacheBytes,
    discard: drawn.discard,
    wrap: (storage, role) =>
      new TimelineStorage(storage, { role, timeline, initial: initial[role]!.toBytes() }),
  });
  const apply = async (operation: EngineOperation): Promise<void> => {
    if (operation.kind === "flush") {
      const begin = timeline.now;
      await image.flush();
      history.flushed(begin, timeline.now);
      return;
    }
    const change = changeOf(operation, shape);
    const versions = change === undefined ? [] : history.begin(change.offset, change.bytes, timeline.now);
    await applyToImage(operation, image);
    history.complete(versions, timeline.now);
  };
  for (const batch of separateBatches(drawn.batches, shape)) await Promise.all(batch.map(apply));
  const begin = timeline.now;
  await image.close();
  history.flushed(begin, timeline.now);
  return { timeline, history, initial };
}

function copyOf(storage: MemoryStorage): MemoryStorage {
  return new MemoryStorage({ name: storage.name, bytes: storage.toBytes() });
}

/**
 * Each moment with nothing and with everything that was pending, drawn states in between, and each write to the header
 * alone; in order of time.
 */
function drawCuts({ events }: Timeline, states: number, random: Random): Cut[] {
  const moments: number[] = [];
  for (const [index, event] of events.entries()) if (event.kind !== "flush-begun") moments.push(index + 1);
  const cuts: Cut[] = [{ at: 0, choice: "nothing" }];
  const isFew = moments.length * 3 <= states;
  for (let count = 1; count < states; count++) {
    const round = Math.floor((count - 1) / Math.max(1, moments.length));
    const at = isFew
      ? moments[(count - 1) % moments.length]
      : moments[random.below(Math.max(1, moments.length))];
    if (at === undefined) break;
    const choice = isFew && round < 2 ? (["nothing", "everything"] as const)[round] : undefined;
    cuts.push({
      at,
      choice: choice ?? random.pick(["nothing", "everything", "drawn", "drawn", "drawn"] as const),
    });
  }
  // What the header switches to has to be durable before: such a write is always tried without what was pending.
  for (const [index, event] of events.entries()) {
    if (event.kind === "begun" && isHeaderWrite(event.write)) {
      cuts.push({ at: index + 1, choice: "newest" });
    }
  }
  return cuts.sort((first, second) => first.at - second.at);
}

function isHeaderWrite({ role, kind, offset }: DiskWrite): boolean {
  return role === "image" && kind === "write" && offset < SECTOR;
}

/** The disks as they are at one moment after the other. */
class CrashDisks {
  readonly #events: readonly DiskEvent[];
  readonly #initial: ShapeFiles;
  readonly #durable: Map<"image" | "data", FileContent>;
  /** Begun and not durable, in the order of their beginning. */
  #pending: DiskWrite[] = [];
  readonly #completed = new Set<number>();
  readonly #flushes = new Map<number, ReadonlySet<number>>();
  #at = 0;

  constructor(timeline: Timeline, initial: ShapeFiles) {
    this.#events = timeline.events;
    this.#initial = initial;
    this.#durable = new Map([["image", new FileContent(initial.image.toBytes())]]);
    if (initial.data !== undefined) this.#durable.set("data", new FileContent(initial.data.toBytes()));
  }

  /** The state after event `at`; cuts have to come in the order of time. */
  cut({ at, choice }: Cut, random: Random): CrashState {
    for (; this.#at < at; this.#at++) this.#take(this.#events[this.#at] as DiskEvent);
    const contents = new Map(Array.from(this.#durable, ([role, content]) => [role, content.copy()]));
    const reached: string[] = [];
    const order =
      choice === "drawn" && random.below(2) === 0 ? shuffled(this.#pending, random) : this.#pending;
    const style = random.below(3);
    const newest = this.#pending[this.#pending.length - 1];
    for (const write of order) {
      if (choice === "newest" && write !== newest) continue;
      if (choice === "nothing" || (choice === "drawn" && random.below(2) === 0)) continue;
      const isTorn = choice === "drawn" && style > 0 && random.below(2) === 0;
      const part = contents
        .get(write.role)
        ?.apply(write, isTorn ? () => random.below(style + 1) > 0 : undefined);
      reached.push(
        `${write.role} ${write.kind} ${write.offset}+${write.length}${isTorn ? ` (${part})` : ""}`,
      );
    }
    const data = contents.get("data");
    return {
      files: {
        image: new MemoryStorage({ name: "image", bytes: (contents.get("image") as FileContent).toBytes() }),
        data: data && new MemoryStorage({ name: "data", bytes: data.toBytes() }),
        backing: this.#initial.backing,
      },
      description: `power cut at event ${at} of ${this.#events.length}, of ${this.#pending.length} pending writes reached the disk: ${reached.join(", ") || "none"}`,
    };
  }

  #take(event: DiskEvent): void {
    switch (event.kind) {
      case "begun":
        this.#pending.push(event.write);
        return;
      case "completed":
        this.#completed.add(event.id);
        return;
      case "flush-begun": {
        const covered = this.#pending.filter(
          ({ id, role }) => role === event.role && this.#completed.has(id),
        );
        this.#flushes.set(event.id, new Set(covered.map(({ id }) => id)));
        return;
      }
      case "flushed": {
        const covered = this.#flushes.get(event.id) ?? new Set();
        this.#flushes.delete(event.id);
        for (const write of this.#pending)
          if (covered.has(write.id)) this.#durable.get(write.role)?.apply(write);
        this.#pending = this.#pending.filter(({ id }) => !covered.has(id));
      }
    }
  }
}

function shuffled<Item>(items: readonly Item[], random: Random): Item[] {
  const result = [...items];
  for (let index = result.length - 1; index > 0; index--) {
    const other = random.below(index + 1);
    [result[index], result[other]] = [result[other] as Item, result[index] as Item];
  }
  return result;
}

/** The image opens, has no corruption, and every sector reads as it may; now and then it is written to as well. */
async function expectSound(
  files: ShapeFiles,
  history: SectorHistory,
  at: number,
  random: Random,
): Promise<void> {
  const image = await openShape(files, { readOnly: true });
  const bytes = await readAll(image);
  history.expectAllowed(bytes, at);
  await expectNoCorruption(image);
  await image.close();
  if (random.below(4) !== 0) return;
  const reopened = await openShape(files);
  const offset = random.below(image.size);
  const from = new Uint8Array(Math.min(1 + random.below(20_000), image.size - offset)).fill(0x5a);
  await reopened.write({ offset, from });
  await reopened.flush();
  bytes.set(from, offset);
  if (Buffer.compare(await readAll(reopened), bytes) !== 0) {
    throw new Error("after the image was written to again, it reads differently");
  }
  await expectNoCorruption(reopened);
  await reopened.close();
}
