/**
 * The engine beside a model of the disk: fast-check draws commands and runs them on both. A sequence also closes and
 * opens the image, with other cache sizes, and takes snapshots, after which nothing is the active disk's own.
 */
import type { Qcow2Image } from "@qcow2/core";
import fc from "fast-check";
import { CONTENT_KINDS, type ContentKind } from "../content.ts";
import { type DiskModel, expectSameContent } from "../disk-model.ts";
import { engineOperationArbitrary } from "./engine-arbitraries.ts";
import { applyToImage, applyToModel, type EngineOperation } from "./engine-operations.ts";
import { type EngineShape, openShape, type ShapeFiles } from "./engine-shapes.ts";
import { shareWithSnapshot } from "./share-with-snapshot.ts";
import { expectNoCorruption } from "./sound-image.ts";

/** What the commands change on the model's side. */
interface ModelSide {
  disk: DiskModel;
  /** What the snapshot holds, once there is one. */
  snapshot: DiskModel | undefined;
}

/** What the commands change on the engine's side. */
interface EngineSide {
  readonly shape: EngineShape;
  readonly files: ShapeFiles;
  image: Qcow2Image;
  /** Where the last operation was. */
  place: { readonly offset: number; readonly length: number };
}

type Command = fc.AsyncCommand<ModelSide, EngineSide>;

class Operate implements Command {
  readonly #operation: EngineOperation;

  constructor(operation: EngineOperation) {
    this.#operation = operation;
  }

  check(): boolean {
    return true;
  }

  async run(model: ModelSide, real: EngineSide): Promise<void> {
    await applyToImage(this.#operation, real.image);
    await applyToModel(this.#operation, real.shape, model.disk);
    if (this.#operation.kind !== "flush") real.place = this.#operation;
  }

  toString(): string {
    return JSON.stringify(this.#operation);
  }
}

/** Gives up the whole clusters of the place of the last operation, durably, and writes them anew. */
class TakeAnew implements Command {
  readonly #content: ContentKind;
  readonly #seed: number;

  constructor(drawn: { readonly content: ContentKind; readonly seed: number }) {
    this.#content = drawn.content;
    this.#seed = drawn.seed;
  }

  check(): boolean {
    return true;
  }

  async run(model: ModelSide, real: EngineSide): Promise<void> {
    const { clusterSize, size, hasDataFile } = real.shape;
    const offset = Math.floor(real.place.offset / clusterSize) * clusterSize;
    const length = Math.min(size - offset, Math.ceil(real.place.length / clusterSize) * clusterSize);
    const range = { offset, length };
    const written = { ...range, content: this.#content, seed: this.#seed };
    for (const operation of [
      { kind: "discard", ...range },
      { kind: "flush" },
      { kind: hasDataFile ? "write" : "write-compressed", ...written },
    ] as const) {
      await applyToImage(operation, real.image);
      await applyToModel(operation, real.shape, model.disk);
    }
  }

  toString(): string {
    return `takeAnew(${this.#content}, ${this.#seed})`;
  }
}

/** Writes where the last operation was: in place, if that was a write. */
class WriteAgain implements Command {
  readonly #content: ContentKind;
  readonly #seed: number;

  constructor(drawn: { readonly content: ContentKind; readonly seed: number }) {
    this.#content = drawn.content;
    this.#seed = drawn.seed;
  }

  check(): boolean {
    return true;
  }

  async run(model: ModelSide, real: EngineSide): Promise<void> {
    const operation = { kind: "write", ...placeOf(real), content: this.#content, seed: this.#seed } as const;
    await applyToImage(operation, real.image);
    await applyToModel(operation, real.shape, model.disk);
  }

  toString(): string {
    return `writeAgain(${this.#content}, ${this.#seed})`;
  }
}

function placeOf({ place }: EngineSide): EngineSide["place"] {
  return { offset: place.offset, length: place.length };
}

class Read implements Command {
  readonly #start: number;
  readonly #length: number;
  readonly #where: "anywhere" | "last place";

  /**
   * A part of the disk, or no more than a cluster of where the last operation was: where it begins and how long it is,
   * each of 2^20 parts.
   */
  constructor(start: number, length: number, where: "anywhere" | "last place") {
    this.#start = start;
    this.#length = length;
    this.#where = where;
  }

  check(): boolean {
    return true;
  }

  #range({ shape, place }: EngineSide): { readonly offset: number; readonly length: number } {
    const { clusterSize, size } = shape;
    const [start, part] = [this.#start / 2 ** 20, this.#length / 2 ** 20];
    if (this.#where === "anywhere") {
      const offset = Math.floor(size * start);
      return { offset, length: Math.ceil((size - offset) * part) };
    }
    const offset = Math.floor(place.offset + place.length * start);
    return { offset, length: Math.min(size - offset, Math.ceil(clusterSize * part)) };
  }

  async run({ disk }: ModelSide, real: EngineSide): Promise<void> {
    const { image } = real;
    const { offset, length } = this.#range(real);
    const into = new Uint8Array(length).fill(0xa5);
    await image.read({ offset, into });
    if (Buffer.compare(into, await disk.read(offset, length)) !== 0) {
      throw new Error(`${length} bytes at ${offset} read differently`);
    }
    for await (const extent of image.map({ offset, length })) {
      if (extent.kind !== "zero") continue;
      const expected = await disk.read(extent.offset, extent.length);
      if (expected.some((byte) => byte !== 0))
        throw new Error(`the map calls ${extent.offset} zero, and it is not`);
    }
  }

  toString(): string {
    return `read(${this.#start}, ${this.#length}, ${this.#where})`;
  }
}

class Reopen implements Command {
  readonly #cacheBytes: number;
  readonly #discard: "ignore" | "unmap";

  constructor(cacheBytes: number, discard: "ignore" | "unmap") {
    this.#cacheBytes = cacheBytes;
    this.#discard = discard;
  }

  check(): boolean {
    return true;
  }

  async run(model: ModelSide, real: EngineSide): Promise<void> {
    await real.image.close();
    await expectSnapshot(model, real);
    real.image = await openShape(real.files, { cacheBytes: this.#cacheBytes, discard: this.#discard });
  }

  toString(): string {
    return `reopen(${this.#cacheBytes}, ${this.#discard})`;
  }
}

/** One snapshot at most: another reference does not fit into narrow refcounts. */
class TakeSnapshot implements Command {
  check({ snapshot }: ModelSide): boolean {
    return snapshot === undefined;
  }

  async run(model: ModelSide, real: EngineSide): Promise<void> {
    if (!real.shape.canShare) return;
    await real.image.close();
    await shareWithSnapshot(real.files.image);
    model.snapshot = await model.disk.overlay(model.disk.size);
    real.image = await openShape(real.files);
  }

  toString(): string {
    return "snapshot()";
  }
}

async function expectSnapshot({ snapshot }: ModelSide, { files }: EngineSide): Promise<void> {
  if (snapshot === undefined) return;
  const image = await openShape(files, { readOnly: true, snapshot: "1" });
  await expectSameContent(image, snapshot);
  await image.close();
}

/** The raw data file has to hold the guest's bytes by itself. */
async function expectRawDataFile({ disk }: ModelSide, { files, shape }: EngineSide): Promise<void> {
  if (!shape.isDataFileRaw || files.data === undefined) return;
  const expected = await disk.read(0, disk.size);
  const actual = new Uint8Array(disk.size);
  await files.data.read(0, actual);
  if (Buffer.compare(actual, expected) !== 0) throw new Error("the raw data file differs from the disk");
}

export interface ModelCase {
  readonly shape: EngineShape;
  readonly commands: Iterable<Command>;
}

export function modelCaseArbitrary(shape: EngineShape): fc.Arbitrary<ModelCase> {
  const part = fc.nat(2 ** 20 - 1);
  const written = fc.record({ content: fc.constantFrom(...CONTENT_KINDS), seed: fc.nat(0xffff) });
  const operate = engineOperationArbitrary(shape).map((operation): Command => new Operate(operation));
  const cacheBytes = fc.constantFrom(1, 1, 4096, 2 ** 20);
  const reopen = fc
    .tuple(cacheBytes, fc.constantFrom<"ignore" | "unmap">("ignore", "unmap"))
    .map(([bytes, discard]): Command => new Reopen(bytes, discard));
  return fc.record({
    shape: fc.constant(shape),
    commands: fc.commands(
      [
        operate,
        operate,
        operate,
        fc.tuple(part, part).map(([start, length]): Command => new Read(start, length, "anywhere")),
        fc.tuple(part, part).map(([start, length]): Command => new Read(start, length, "last place")),
        fc.tuple(part, part).map(([start, length]): Command => new Read(start, length, "last place")),
        written.map((drawn): Command => new TakeAnew(drawn)),
        written.map((drawn): Command => new WriteAgain(drawn)),
        reopen,
        fc.constant<Command>(new TakeSnapshot()),
      ],
      { maxCommands: 30, size: "max" },
    ),
  });
}

/** Runs the commands on both sides; afterwards content is equal and the check finds nothing. Returns how many ran. */
export async function checkModel({ shape, commands }: ModelCase): Promise<number> {
  const { files, model } = await shape.build();
  const sides = {
    model: { disk: model, snapshot: undefined } as ModelSide,
    real: {
      shape,
      files,
      image: await openShape(files, { cacheBytes: 1 }),
      place: { offset: 0, length: 1 },
    } as EngineSide,
  };
  await fc.asyncModelRun(async () => sides, commands);
  const { model: expected, real } = sides;
  await expectSameContent(real.image, expected.disk);
  await real.image.close();
  const reopened = await openShape(files, { readOnly: true });
  await expectSameContent(reopened, expected.disk);
  await expectNoCorruption(reopened, { noLeaks: true });
  await reopened.close();
  await expectSnapshot(expected, real);
  await expectRawDataFile(expected, real);
  return Array.from(commands).length;
}
