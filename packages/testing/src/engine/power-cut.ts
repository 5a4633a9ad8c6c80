/** Power cuts at any moment of a sequence of operations, and what has to be true of the disk then. */
import { MemoryStorage, type Qcow2Image } from "@qcow2/core";
import type { DiskModel } from "../disk-model.ts";
import { Random } from "../random.ts";
import { type CrashState, crashStates } from "./crash-states.ts";
import { Timeline, TimelineStorage } from "./disk-timeline.ts";
import type { EngineCase } from "./engine-cases.ts";
import { applyToImage, changeOf, type EngineOperation } from "./engine-operations.ts";
import { copyFiles, type EngineShape, openShape, type ShapeFiles, shapeNamed } from "./engine-shapes.ts";
import { addFollower, expectFollowed, followWithBitmap } from "./followed-disk.ts";
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
  const begun = await (drawn.begins === "created" && shape.create !== undefined
    ? beginCreated(drawn, shape.create)
    : beginOpened(drawn, shape));
  const initialDisk = await begun.model.read(0, shape.size);
  const history = new SectorHistory(initialDisk);
  await record(drawn, shape, begun, history);
  const random = new Random(drawn.seed);
  let states = 0;
  const { timeline, initial, countsFrom } = begun;
  for (const state of crashStates(timeline, initial, options.states, random, countsFrom)) {
    try {
      await expectSound(state.files, history, state.at, random);
      await expectFollowed(state.files, initialDisk);
    } catch (error) {
      throw new Error(`${state.description}: ${(error as Error).message}`, { cause: error });
    }
    await options.onState?.(state);
    states++;
  }
  return states;
}

/** An image that is open, and whose files are recorded. */
interface Begun {
  readonly image: Qcow2Image;
  readonly model: DiskModel;
  readonly timeline: Timeline;
  readonly files: ShapeFiles;
  /** What the files held when the recording began. */
  readonly initial: ShapeFiles;
  /** The moment of the timeline from which on the image has to survive a power cut. */
  readonly countsFrom: number;
}

/** An image that was closed. */
async function beginOpened(drawn: EngineCase, shape: EngineShape): Promise<Begun> {
  const { files, model } = await shape.build();
  if (drawn.isFollowed && shape.version === 3) await followWithBitmap(files);
  const [initial, timeline] = [await copyFiles(files), new Timeline()];
  const image = await openRecorded(drawn, files, timeline);
  return { image, model, timeline, files, initial, countsFrom: 0 };
}

/** An image that is used on by whoever has just made it: it counts from its first flush on. */
async function beginCreated(
  { isFollowed }: EngineCase,
  create: NonNullable<EngineShape["create"]>,
): Promise<Begun> {
  const timeline = new Timeline();
  const { files, model, image } = await create(
    (storage, role) => new TimelineStorage(storage, { role, timeline, initial: new Uint8Array(0) }),
  );
  const initial = {
    ...files,
    image: new MemoryStorage({ name: "image" }),
    data: files.data && new MemoryStorage({ name: "data" }),
  };
  if (isFollowed && image.info().version === 3) await addFollower(image);
  await image.flush();
  return { image, model, timeline, files, initial, countsFrom: timeline.now };
}

function openRecorded(
  { cacheBytes, discard }: EngineCase,
  files: ShapeFiles,
  timeline: Timeline,
): Promise<Qcow2Image> {
  return openShape(files, {
    cacheBytes,
    discard,
    wrap: (storage, role) => {
      const initial = (files[role] as MemoryStorage).toBytes();
      return new TimelineStorage(storage, { role, timeline, initial });
    },
  });
}

/** Runs the operations of the case, and closes the image. */
async function record(
  drawn: EngineCase,
  shape: EngineShape,
  { image: first, timeline, files }: Begun,
  history: SectorHistory,
): Promise<void> {
  let image = first;
  const close = async (): Promise<void> => {
    const begin = timeline.now;
    await image.close();
    history.flushed(begin, timeline.now);
  };
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
  for (const [index, batch] of separateBatches(drawn.batches, shape).entries()) {
    if (index > 0 && index === drawn.reopensAfter) {
      await close();
      image = await openRecorded(drawn, files, timeline);
    }
    await Promise.all(batch.map(apply));
  }
  await close();
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
