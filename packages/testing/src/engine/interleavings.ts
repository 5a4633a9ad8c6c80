/**
 * Concurrent requests whose storage operations complete in any order: the disk holds what the requests, one after the
 * other in the order of their calls, would have left; every read sees a state in between.
 */
import type { Qcow2Image, Storage } from "@qcow2/core";
import fc from "fast-check";
import { Random } from "../random.ts";
import { type StorageOperation, WrappedStorage } from "../wrapped-storage.ts";
import { type EngineCase, engineCaseArbitrary } from "./engine-cases.ts";
import { applyToImage, changeOf, type EngineOperation } from "./engine-operations.ts";
import { type EngineShape, openShape, shapeNamed } from "./engine-shapes.ts";
import { expectEnd, expectNoCorruption, readAll } from "./sound-image.ts";

const SECTOR = 512;
/** How often the scheduler has to come back to a read before it happens. */
const TURNS_OF_A_READ = [0, 0, 0, 0, 60];

export interface InterleavedCase {
  readonly drawn: EngineCase;
  readonly scheduler: fc.Scheduler;
}

export function interleavedCaseArbitrary(shape: EngineShape): fc.Arbitrary<InterleavedCase> {
  return fc.record({
    drawn: engineCaseArbitrary(shape, { maxBatches: 6, maxConcurrent: 5 }),
    scheduler: fc.scheduler(),
  });
}

/** Every operation begins, and its completion is seen, when the scheduler says so. */
class ScheduledStorage extends WrappedStorage {
  readonly #scheduler: fc.Scheduler;
  readonly #random: Random;

  constructor(inner: Storage, scheduler: fc.Scheduler, random: Random) {
    super(inner);
    this.#scheduler = scheduler;
    this.#random = random;
  }

  protected override async before({ kind, offset, length }: StorageOperation): Promise<void> {
    await this.#scheduler.schedule(Promise.resolve(), `${kind} ${offset}+${length} begins`);
  }

  override async write(offset: number, from: Uint8Array): Promise<void> {
    await super.write(offset, from);
    await this.#scheduler.schedule(Promise.resolve(), `write ${offset} completes`);
  }

  override async read(offset: number, into: Uint8Array): Promise<number> {
    // Some take so long that whole batches come and go: what they read must not be used for something else meanwhile.
    for (let turns = this.#random.pick(TURNS_OF_A_READ); turns > 0; turns--) {
      await this.#scheduler.schedule(Promise.resolve(), `read ${offset} takes its time`);
    }
    const bytesRead = await super.read(offset, into);
    await this.#scheduler.schedule(Promise.resolve(), `read ${offset} completes`);
    return bytesRead;
  }
}

/** Runs the case in the order that its scheduler draws; returns how many requests there were. */
export async function checkInterleaving({ drawn, scheduler }: InterleavedCase): Promise<number> {
  const shape = shapeNamed(drawn.shape);
  const { files, model } = await shape.build();
  const random = new Random(drawn.seed);
  const { cacheBytes, discard } = drawn;
  const opening = openShape(files, {
    cacheBytes,
    discard,
    wrap: (storage) => new ScheduledStorage(storage, scheduler, random),
  });
  const image = await expectEnd("opening", scheduler.waitFor(opening));
  // Every state of the disk so far; reads may go on while later batches run.
  const states = [await model.read(0, shape.size)];
  const reads: Promise<void>[] = [];
  let requests = 0;
  for (const batch of drawn.batches) {
    const first = states.length - 1;
    appendStates(states, batch, shape);
    const work = batch.map((operation) => {
      const done = applyToImage(operation, image);
      reads.push(expectReadIn(states, first, image, random));
      return done;
    });
    requests += 2 * work.length;
    await expectEnd(JSON.stringify(batch), scheduler.waitFor(Promise.all(work)));
  }
  await expectEnd("reading", scheduler.waitFor(Promise.all(reads)));
  const content = states[states.length - 1] as Uint8Array;
  expectContent(await expectEnd("reading", scheduler.waitFor(readAll(image))), content, "at the end");
  await expectEnd("closing", scheduler.waitFor(image.close()));
  const reopened = await openShape(files, { readOnly: true });
  expectContent(await readAll(reopened), content, "after reopening");
  await expectNoCorruption(reopened, { noLeaks: true });
  await reopened.close();
  return requests;
}

/** Appends the disk as it is after each operation of the batch. */
function appendStates(states: Uint8Array[], batch: readonly EngineOperation[], shape: EngineShape): void {
  for (const operation of batch) {
    const change = changeOf(operation, shape);
    if (change === undefined) continue;
    const state = (states[states.length - 1] as Uint8Array).slice();
    state.set(change.bytes, change.offset);
    states.push(state);
  }
}

/** Reads a range; each sector of it has to be as in one of the states from `first` on. */
function expectReadIn(
  states: readonly Uint8Array[],
  first: number,
  image: Qcow2Image,
  random: Random,
): Promise<void> {
  const offset = Math.floor(random.below(image.size) / SECTOR) * SECTOR;
  const into = new Uint8Array(Math.min(1 + random.below(30_000), image.size - offset)).fill(0xa5);
  const reading = image.read({ offset, into }).then(() => {
    for (let at = 0; at < into.length; at += SECTOR) {
      const actual = into.subarray(at, at + SECTOR);
      const isKnown = states
        .slice(first)
        .some(
          (state) => Buffer.compare(state.subarray(offset + at, offset + at + actual.length), actual) === 0,
        );
      if (!isKnown) throw new Error(`a read at ${offset} saw at ${offset + at} what was not there meanwhile`);
    }
  });
  // Looked at when all requests have ended; until then a failure is not unhandled.
  reading.catch(() => undefined);
  return reading;
}

function expectContent(actual: Uint8Array, expected: Uint8Array, when: string): void {
  for (let at = 0; at < expected.length; at += SECTOR) {
    if (Buffer.compare(actual.subarray(at, at + SECTOR), expected.subarray(at, at + SECTOR)) === 0) continue;
    throw new Error(
      `${when}, guest offset ${at} does not read as the requests in the order of their calls left it`,
    );
  }
}
