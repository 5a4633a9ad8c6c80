/** Power cuts at any moment of a sequence of operations, and what has to be true of the disk then. */
import { Random } from "../random.ts";
import { type CrashState, crashStates } from "./crash-states.ts";
import { Timeline, TimelineStorage } from "./disk-timeline.ts";
import type { EngineCase } from "./engine-cases.ts";
import { applyToImage, changeOf, type EngineOperation } from "./engine-operations.ts";
import {
  type BuiltShape,
  copyFiles,
  type EngineShape,
  openShape,
  type ShapeFiles,
  shapeNamed,
} from "./engine-shapes.ts";
import { expectFollowed, followWithBitmap } from "./followed-disk.ts";
import { SectorHistory } from "./sector-history.ts";
import { separateBatches } from "./separate-batches.ts";
import { expectNoCorruption, readAll } from "./sound-image.ts";

export interface PowerCutOptions {
  /** Crash states that are looked at, at most. */
  readonly states: number;
  /** Called with each state after it was found to be good. */
  readonly onState?: (state: CrashState) => Promise<void>;
}

/** Runs the case once, and then looks at states that a power cut may leave. Returns how many. */
export async function checkPowerCuts(drawn: EngineCase, options: PowerCutOptions): Promise<number> {
  const shape = shapeNamed(drawn.shape);
  const built = await shape.build();
  if (drawn.isFollowed && shape.version === 3) await followWithBitmap(built.files);
  const initialDisk = await built.model.read(0, shape.size);
  const recording = await record(drawn, shape, built);
  const random = new Random(drawn.seed);
  let states = 0;
  for (const state of crashStates(recording.timeline, recording.initial, options.states, random)) {
    try {
      await expectSound(state.files, recording.history, state.at, random);
      await expectFollowed(state.files, initialDisk);
    } catch (error) {
      throw new Error(`${state.description}: ${(error as Error).message}`, { cause: error });
    }
    await options.onState?.(state);
    states++;
  }
  return states;
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
  const initial = await copyFiles(files);
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
