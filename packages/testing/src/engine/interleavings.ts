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

export interface InterleavedCase {
  readonly drawn: EngineCase;
  readonly scheduler: fc.Scheduler;
}

export function interleavedCaseArbitrary(shape: EngineShape): fc.Arbitrary<InterleavedCase> {
  return fc.record({
    drawn: engineCaseArbitrary(shape, { maxBatches: 3, maxConcurrent: 7 }),
    scheduler: fc.scheduler(),
  });
}

/** Every operation begins, and its completion is seen, when the scheduler says so. */
class ScheduledStorage extends WrappedStorage {
  readonly #scheduler: fc.Scheduler;

  constructor(inner: Storage, scheduler: fc.Scheduler) {
    super(inner);
    this.#scheduler = scheduler;
  }

  protected override async before({ kind, offset, length }: StorageOperation): Promise<void> {
    await this.#scheduler.schedule(Promise.resolve(), `${kind} ${offset}+${length} begins`);
  }

  override async write(offset: number, from: Uint8Array): Promise<void> {
    await super.write(offset, from);
    await this.#scheduler.schedule(Promise.resolve(), `write ${offset} completes`);
  }

  override async read(offset: number, into: Uint8Array): Promise<number> {
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
    wrap: (storage) => new ScheduledStorage(storage, scheduler),
  });
  const image = await expectEnd("opening", scheduler.waitFor(opening));
  let content = await model.read(0, shape.size);
  let requests = 0;
  for (const batch of drawn.batches) {
    const states = statesOf(batch, shape, content);
    const work = batch.flatMap((operation) => [
      applyToImage(operation, image),
      expectReadIn(states, image, random),
    ]);
    requests += work.length;
    await expectEnd(JSON.stringify(batch), scheduler.waitFor(Promise.all(work)));
    content = states[states.length - 1] as Uint8Array;
    expectContent(await expectEnd("reading", scheduler.waitFor(readAll(image))), content, "after a batch");
  }
  await expectEnd("closing", scheduler.waitFor(image.close()));
  const reopened = await openShape(files, { readOnly: true });
  expectContent(await readAll(reopened), content, "after reopening");
  await expectNoCorruption(reopened, { noLeaks: true });
  await reopened.close();
  return requests;
}

/** The disk before the batch, and after each of its operations. */
function statesOf(batch: readonly EngineOperation[], shape: EngineShape, before: Uint8Array): Uint8Array[] {
  const states = [before];
  for (const operation of batch) {
    const change = changeOf(operation, shape);
    const state = (states[states.length - 1] as Uint8Array).slice();
    if (change !== undefined) state.set(change.bytes, change.offset);
    states.push(state);
  }
  return states;
}

/** Reads a range; each sector of it has to be as in one of the states. */
async function expectReadIn(states: readonly Uint8Array[], image: Qcow2Image, random: Random): Promise<void> {
  const offset = Math.floor(random.below(image.size) / SECTOR) * SECTOR;
  const into = new Uint8Array(Math.min(1 + random.below(30_000), image.size - offset)).fill(0xa5);
  await image.read({ offset, into });
  for (let at = 0; at < into.length; at += SECTOR) {
    const actual = into.subarray(at, at + SECTOR);
    const isKnown = states.some(
      (state) => Buffer.compare(state.subarray(offset + at, offset + at + actual.length), actual) === 0,
    );
    if (!isKnown) throw new Error(`a read at ${offset} saw at ${offset + at} what was never there`);
  }
}

function expectContent(actual: Uint8Array, expected: Uint8Array, when: string): void {
  for (let at = 0; at < expected.length; at += SECTOR) {
    if (Buffer.compare(actual.subarray(at, at + SECTOR), expected.subarray(at, at + SECTOR)) === 0) continue;
    throw new Error(
      `${when}, guest offset ${at} does not read as the requests in the order of their calls left it`,
    );
  }
}
