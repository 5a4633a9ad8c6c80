/**
 * Repairs of damaged images with power cuts: at any moment, what could be read before can be read, and a repair that is
 * run again ends in an image without findings and with the same data.
 */
import {
  type CheckResult,
  isQcow2Error,
  MemoryStorage,
  type RepairOptions,
  repairStorage,
  type Storage,
} from "@qcow2/core";
import fc from "fast-check";
import { KeptStorage } from "../kept-storage.ts";
import { Random } from "../random.ts";
import { crashStates } from "./crash-states.ts";
import { damageImage } from "./damage-image.ts";
import { Timeline, TimelineStorage } from "./disk-timeline.ts";
import { engineOperationArbitrary } from "./engine-arbitraries.ts";
import { applyToImage, type EngineOperation } from "./engine-operations.ts";
import { type EngineShape, openShape, type ShapeFiles, shapeNamed } from "./engine-shapes.ts";

/** As plain JSON. */
export interface RepairCase {
  /** The shape's name. */
  readonly shape: string;
  readonly operations: readonly EngineOperation[];
  /** Snapshots that are taken between the operations, where the shape can have some. */
  readonly snapshots: number;
  readonly hasBitmap: boolean;
  /** How many places are damaged at most. */
  readonly damages: number;
  readonly what: RepairOptions["what"];
  /** Decides damage and crash states. */
  readonly seed: number;
}

export function repairCaseArbitrary(shape: EngineShape): fc.Arbitrary<RepairCase> {
  return fc.record({
    shape: fc.constant(shape.name),
    operations: fc.array(engineOperationArbitrary(shape), { maxLength: 6, size: "max" }),
    snapshots: fc.nat(2),
    hasBitmap: fc.boolean(),
    damages: fc.integer({ min: 1, max: 4 }),
    what: fc.constantFrom<RepairOptions["what"][]>("all", "all", "leaks"),
    seed: fc.nat(2 ** 31 - 1),
  });
}

/** Builds, damages and repairs; returns how many crash states were looked at. */
export async function checkRepair(
  drawn: RepairCase,
  { states }: { readonly states: number },
): Promise<number> {
  const { damaged, done } = await damagedImage(drawn);
  try {
    return await repairWithPowerCuts(drawn, damaged, states);
  } catch (error) {
    throw new Error(`${(error as Error).message} (${done.join("; ")})`, { cause: error });
  }
}

async function repairWithPowerCuts(drawn: RepairCase, damaged: ShapeFiles, states: number): Promise<number> {
  const bytes = damaged.image.toBytes();
  const random = new Random(drawn.seed);
  const readable = await readableClusters(damaged);

  const timeline = new Timeline();
  const changed: ShapeFiles = {
    ...damaged,
    image: new MemoryStorage({ name: "image", bytes: bytes.slice() }),
  };
  const storage = new TimelineStorage(new KeptStorage(changed.image), {
    role: "image",
    timeline,
    initial: bytes.slice(),
  });
  const { what } = drawn;
  const after = await repairOrRefuse(storage, what);
  await expectReadable(changed, readable);
  if (after === undefined) return 0;
  if (what === "all" && after.corruptions + after.checkErrors === 0) {
    await (await openShape(changed, { readOnly: true })).close();
  }
  await expectRepairedOnce(changed, what, after.corruptions + after.checkErrors);
  let counted = 0;
  for (const state of crashStates(timeline, damaged, states, random)) {
    try {
      await expectReadable(state.files, readable);
      const again = await repairOrRefuse(new KeptStorage(state.files.image), what);
      // Whatever cannot be repaired (more users of a cluster than narrow refcounts can count) is no more than before.
      if ((again?.corruptions ?? Number.POSITIVE_INFINITY) > after.corruptions) {
        throw new Error(`the second repair leaves ${again?.corruptions ?? "all"} corruptions`);
      }
      await expectReadable(state.files, readable);
    } catch (error) {
      throw new Error(`${state.description}: ${(error as Error).message}`, { cause: error });
    }
    counted++;
  }
  return counted;
}

/** What is wrong afterwards; undefined if the image is too broken for a repair to act. */
async function repairOrRefuse(
  storage: Storage,
  what: RepairOptions["what"],
): Promise<CheckResult | undefined> {
  try {
    return (await repairStorage(storage, { what })).after;
  } catch (error) {
    if (isQcow2Error(error)) return undefined;
    throw error;
  }
}

/** The image with what was drawn in it, and what was broken then. */
export async function damagedImage(
  drawn: RepairCase,
): Promise<{ readonly damaged: ShapeFiles; readonly done: readonly string[] }> {
  const shape = shapeNamed(drawn.shape);
  const { files } = await shape.build();
  const image = await openShape(files);
  for (const [index, operation] of drawn.operations.entries()) {
    if (shape.canShare && index < drawn.snapshots) {
      await image.createSnapshot({ name: `snapshot ${index}` });
    }
    await applyToImage(operation, image);
  }
  if (drawn.hasBitmap && shape.version >= 3 && !shape.hasDataFile) {
    await image.changeBitmaps([{ kind: "add", name: "bitmap" }]);
  }
  await image.close();
  const { bytes, done } = damageImage(files.image.toBytes(), drawn.damages, new Random(drawn.seed));
  return { damaged: { ...files, image: new MemoryStorage({ name: "image", bytes }) }, done };
}

/** The clusters that can be read of the disk and of its snapshots, each as text by what it is called. */
export async function readableClusters(files: ShapeFiles): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const snapshot of [undefined, ...(await snapshotsOf(files))]) {
    try {
      const image = await openShape(files, { readOnly: true, ...(snapshot !== undefined && { snapshot }) });
      const { clusterSize } = image.info();
      for (let offset = 0; offset < image.size; offset += clusterSize) {
        const into = new Uint8Array(Math.min(clusterSize, image.size - offset));
        try {
          await image.read({ offset, into });
          found.set(`${snapshot ?? "disk"} at ${offset}`, Buffer.from(into).toString("latin1"));
        } catch (error) {
          if (!isQcow2Error(error)) throw error;
        }
      }
      await image.close();
    } catch (error) {
      if (!isQcow2Error(error)) throw error;
    }
  }
  return found;
}

async function snapshotsOf(files: ShapeFiles): Promise<readonly string[]> {
  try {
    const image = await openShape(files, { readOnly: true });
    // Without an id, it is no snapshot but the rest of a cluster, taken for one by a count that is too high.
    const ids = image.info().snapshots.flatMap(({ id }) => (id === "" ? [] : [id]));
    await image.close();
    return ids;
  } catch (error) {
    if (!isQcow2Error(error)) throw error;
    return [];
  }
}

async function expectReadable(files: ShapeFiles, before: ReadonlyMap<string, string>): Promise<void> {
  const now = await readableClusters(files);
  for (const [offset, content] of before) {
    if (now.get(offset) !== content)
      throw new Error(`${offset}: what could be read there cannot be read any more`);
  }
}

/** A repair of what was repaired changes nothing, and finds nothing but what could not be repaired. */
async function expectRepairedOnce(
  files: ShapeFiles,
  what: RepairOptions["what"],
  remaining: number,
): Promise<void> {
  const before = files.image.toBytes();
  const { before: found } = await repairStorage(new KeptStorage(files.image), { what });
  if (found.corruptions + found.checkErrors > remaining) throw new Error("a repaired image is not sound");
  if (Buffer.compare(before, files.image.toBytes()) !== 0)
    throw new Error("a second repair changed something");
}
