/**
 * What files may hold when the power goes.
 *
 * A write is durable once a flush of its file, issued after the write had completed, has completed. At the moment of the
 * cut every durable write is on the disk; of the others any part may be, in any order, each torn at 512 bytes. Growth
 * of the file by a write that is not there is lost with it.
 */
import { MemoryStorage } from "@qcow2/core";
import type { Random } from "../random.ts";
import { type DiskEvent, type DiskWrite, FileContent, type Timeline } from "./disk-timeline.ts";
import type { ShapeFiles } from "./engine-shapes.ts";

/** The image's header begins in the first of these; disks write them whole or not at all. */
const SECTOR = 512;

/** Files by the role that they have on a timeline. */
export type FilesByRole = ReadonlyMap<string, MemoryStorage>;

/** A state that the power cut may leave. */
export interface CrashState<Files = ShapeFiles> {
  /** How many events there were before the cut. */
  readonly at: number;
  /** The files as they may be. */
  readonly files: Files;
  /** How it came about, for messages. */
  readonly description: string;
}

/** A cut after event `at` of the timeline, and what decides which writes reached the disk. */
interface Cut {
  readonly at: number;
  /** Of what was begun and is not durable: which writes reached the disk. */
  readonly choice: "nothing" | "everything" | "newest" | "drawn";
}

/**
 * States that a power cut may leave, about `states` of them, in order of time. `initial` is what the files held. With
 * `from`, cuts fall after that moment only.
 */
export function* crashStates(
  timeline: Timeline,
  initial: ShapeFiles,
  states: number,
  random: Random,
  from: number = 0,
): Generator<CrashState> {
  const { image, data, backing } = initial;
  const written = new Map([["image", image]]);
  if (data !== undefined) written.set("data", data);
  for (const state of crashStatesOf(timeline, written, states, random, from)) {
    const files = {
      image: state.files.get("image") as MemoryStorage,
      data: state.files.get("data"),
      backing,
    };
    yield { ...state, files };
  }
}

/** As {@link crashStates}, for any files that one timeline tells of. */
export function* crashStatesOf(
  timeline: Timeline,
  initial: FilesByRole,
  states: number,
  random: Random,
  from: number = 0,
): Generator<CrashState<FilesByRole>> {
  const disks = new CrashDisks(timeline, initial);
  for (const cut of drawCuts(timeline, states, random, from)) yield { at: cut.at, ...disks.cut(cut, random) };
}

/**
 * Each moment with nothing and with everything that was pending, drawn states in between, and each write to the header
 * alone; in order of time.
 */
function drawCuts({ events }: Timeline, states: number, random: Random, from: number): Cut[] {
  const moments: number[] = [];
  for (const [index, event] of events.entries()) {
    if (event.kind !== "flush-begun" && index + 1 >= from) moments.push(index + 1);
  }
  const cuts: Cut[] = [{ at: from, choice: "nothing" }];
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
    if (event.kind === "begun" && isHeaderWrite(event.write) && index + 1 >= from) {
      cuts.push({ at: index + 1, choice: "newest" });
    }
  }
  return cuts.sort((first, second) => first.at - second.at);
}

function isHeaderWrite({ role, kind, offset }: DiskWrite): boolean {
  return role !== "data" && kind === "write" && offset < SECTOR;
}

/** The disks as they are at one moment after the other. */
class CrashDisks {
  readonly #events: readonly DiskEvent[];
  readonly #durable: ReadonlyMap<string, FileContent>;
  /** Begun and not durable, in the order of their beginning. */
  #pending: DiskWrite[] = [];
  readonly #completed = new Set<number>();
  readonly #flushes = new Map<number, ReadonlySet<number>>();
  #at = 0;

  constructor(timeline: Timeline, initial: FilesByRole) {
    this.#events = timeline.events;
    this.#durable = new Map(
      Array.from(initial, ([role, storage]) => [role, new FileContent(storage.toBytes())]),
    );
  }

  /** The state after event `at`; cuts have to come in the order of time. */
  cut({ at, choice }: Cut, random: Random): Omit<CrashState<FilesByRole>, "at"> {
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
    return {
      files: new Map(
        Array.from(contents, ([role, content]) => [
          role,
          new MemoryStorage({ name: role, bytes: content.toBytes() }),
        ]),
      ),
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
