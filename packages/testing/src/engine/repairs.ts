/**
 * Repairs of damaged images with power cuts: at any moment, what could be read before can be read, and a repair that is
 * run again ends in an image without findings and with the same data.
 */
import { isQcow2Error, MemoryStorage, type RepairOptions, repairStorage } from "@qcow2/core";
import fc from "fast-check";
import { KeptStorage } from "../kept-storage.ts";
import { Random } from "../random.ts";
import { crashStates } from "./crash-states.ts";
import { Timeline, TimelineStorage } from "./disk-timeline.ts";
import { engineOperationArbitrary } from "./engine-arbitraries.ts";
import { applyToImage, type EngineOperation } from "./engine-operations.ts";
import { type EngineShape, openShape, type ShapeFiles, shapeNamed } from "./engine-shapes.ts";

/** As plain JSON. */
export interface RepairCase {
  /** The shape's name. */
  readonly shape: string;
  readonly operations: readonly EngineOperation[];
  /** How many places are damaged. */
  readonly damages: number;
  readonly what: RepairOptions["what"];
  /** Decides damage and crash states. */
  readonly seed: number;
}

export function repairCaseArbitrary(shape: EngineShape): fc.Arbitrary<RepairCase> {
  return fc.record({
    shape: fc.constant(shape.name),
    operations: fc.array(engineOperationArbitrary(shape), { maxLength: 6, size: "max" }),
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
  const { files } = await shapeNamed(drawn.shape).build();
  const image = await openShape(files);
  for (const operation of drawn.operations) await applyToImage(operation, image);
  await image.close();
  const random = new Random(drawn.seed);
  const bytes = files.image.toBytes();
  for (let count = 0; count < drawn.damages; count++) damage(bytes, random);
  const damaged: ShapeFiles = { ...files, image: new MemoryStorage({ name: "image", bytes }) };
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
  const { after } = await repairStorage(storage, { what });
  await expectReadable(changed, readable);
  // Leaks can be given back although something cannot be looked at; that is no repair of it.
  await expectRepairedOnce(changed, what, after.corruptions + (what === "leaks" ? after.checkErrors : 0));
  let counted = 0;
  for (const state of crashStates(timeline, damaged, states, random)) {
    try {
      await expectReadable(state.files, readable);
      const again = await repairStorage(new KeptStorage(state.files.image), { what });
      // Whatever cannot be repaired (more users of a cluster than narrow refcounts can count) is no more than before.
      if (again.after.corruptions > after.corruptions) {
        throw new Error(`the second repair leaves ${again.after.corruptions} corruptions`);
      }
      await expectReadable(state.files, readable);
    } catch (error) {
      throw new Error(`${state.description}: ${(error as Error).message}`, { cause: error });
    }
    counted++;
  }
  return counted;
}

/** One change to refcounts, to an L2 entry, or to the refcount table. */
function damage(bytes: Uint8Array, random: Random): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const clusterSize = 2 ** view.getUint32(20);
  const offsetAt = (at: number): number => Number(view.getBigUint64(at) & 0x00fffffffffffe00n);
  const table = offsetAt(48);
  const l1 = offsetAt(40);
  const l1Entries = view.getUint32(36);
  const clusters = Math.ceil(bytes.length / clusterSize);
  const way = random.below(7);
  if (way <= 1) {
    const block = offsetAt(table);
    if (block !== 0) bytes[block + random.below(Math.min(64, clusterSize))] = random.below(256);
    return;
  }
  if (way === 2) {
    view.setBigUint64(table, BigInt(random.pick([0, clusterSize, 512, bytes.length * 2])));
    return;
  }
  if (way === 3) {
    // Where other metadata or data lies.
    view.setBigUint64(table, BigInt(random.below(clusters) * clusterSize));
    return;
  }
  const l2 = l1Entries === 0 ? 0 : offsetAt(l1 + 8 * random.below(l1Entries));
  if (l2 === 0 || l2 + clusterSize > bytes.length) return;
  const at = l2 + 16 * random.below(clusterSize / 16);
  const entry = view.getBigUint64(at);
  if (entry === 0n || at + 8 > bytes.length) return;
  const others = [entry ^ (1n << 63n), entry + 512n, entry | (1n << 60n), BigInt(bytes.length * 4)];
  view.setBigUint64(at, random.pick(others));
}

/** The clusters of the disk that can be read, by their index; each as text. */
async function readableClusters(files: ShapeFiles): Promise<Map<number, string>> {
  const found = new Map<number, string>();
  try {
    const image = await openShape(files, { readOnly: true });
    const { clusterSize } = image.info();
    for (let offset = 0; offset < image.size; offset += clusterSize) {
      const into = new Uint8Array(Math.min(clusterSize, image.size - offset));
      try {
        await image.read({ offset, into });
        found.set(offset, Buffer.from(into).toString("latin1"));
      } catch (error) {
        if (!isQcow2Error(error)) throw error;
      }
    }
    await image.close();
  } catch (error) {
    if (!isQcow2Error(error)) throw error;
  }
  return found;
}

async function expectReadable(files: ShapeFiles, before: ReadonlyMap<number, string>): Promise<void> {
  const now = await readableClusters(files);
  for (const [offset, content] of before) {
    if (now.get(offset) !== content) throw new Error(`what was at ${offset} cannot be read any more`);
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
