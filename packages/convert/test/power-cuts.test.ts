/** Power cuts while an overlay is committed or rebased: its chain reads the same, and doing it again completes the work. */
import {
  type Disk,
  type ImageOptions,
  MemoryStorage,
  Qcow2Image,
  RawDisk,
  type References,
  type Storage,
  type WritableDisk,
} from "@qcow2/core";
import {
  content,
  crashStatesOf,
  type FilesByRole,
  KeptStorage,
  Random,
  Timeline,
  TimelineStorage,
} from "@qcow2/testing";
import { expect, it } from "vitest";
import { commitDisk, rebaseDisk } from "../src/index.ts";
import { codecs } from "./stored-chain.ts";

const CLUSTER = 4096;
const STATES = 70;

interface Shape {
  readonly name: string;
  readonly overlay: ImageOptions;
  /** Undefined: raw. */
  readonly base: ImageOptions | undefined;
  /** Clusters of 4 KiB. */
  readonly overlayClusters: number;
  readonly baseClusters: number;
  readonly snapshot?: boolean;
}

const small = { clusterSize: CLUSTER } as const;

const SHAPES: readonly Shape[] = [
  { name: "over qcow2", overlay: small, base: small, overlayClusters: 60, baseClusters: 60 },
  { name: "over raw", overlay: small, base: undefined, overlayClusters: 60, baseClusters: 60 },
  { name: "over a shorter raw", overlay: small, base: undefined, overlayClusters: 60, baseClusters: 23.5 },
  { name: "over a shorter qcow2", overlay: small, base: small, overlayClusters: 60, baseClusters: 23.5 },
  {
    name: "over a longer version 2",
    overlay: small,
    base: { ...small, version: 2 },
    overlayClusters: 40.5,
    baseClusters: 60,
  },
  {
    name: "version 2, small clusters",
    overlay: { clusterSize: 512, version: 2 },
    base: { clusterSize: 1024 },
    overlayClusters: 24,
    baseClusters: 20,
  },
  {
    name: "subclusters",
    overlay: { clusterSize: 16384, extendedL2: true },
    base: { clusterSize: 16384, extendedL2: true },
    overlayClusters: 80,
    baseClusters: 80,
  },
  {
    name: "with a snapshot",
    overlay: small,
    base: small,
    overlayClusters: 60,
    baseClusters: 60,
    snapshot: true,
  },
];

type Wrap = (storage: Storage, role: string) => Storage;
const unwrapped: Wrap = (storage) => storage;

function storageOf(files: FilesByRole, role: string): MemoryStorage {
  return files.get(role) as MemoryStorage;
}

function copyOf(files: FilesByRole): FilesByRole {
  return new Map(
    Array.from(files, ([role, storage]) => [
      role,
      new MemoryStorage({ name: role, bytes: storage.toBytes() }),
    ]),
  );
}

/** The overlay names its backing file by its role; a qcow2 image lies under every role but "raw". */
async function openDisk(
  files: FilesByRole,
  role: string,
  options: { readonly readOnly?: boolean; readonly wrap?: Wrap } = {},
): Promise<WritableDisk> {
  const { readOnly = false, wrap = unwrapped } = options;
  const storage = wrap(new KeptStorage(storageOf(files, role)), role);
  const bytes = new Uint8Array(4);
  await storage.read(0, bytes);
  if (Buffer.from(bytes).toString("latin1") !== "QFI\xfb") return await RawDisk.open({ storage, readOnly });
  const references: References = {
    openBackingFile: async ({ name }) => await openDisk(files, name, options),
    openDataFile: async () => Promise.reject(new Error("there is none")),
  };
  return await Qcow2Image.open({ storage, readOnly, codecs, references });
}

async function build({ overlay, base, ...shape }: Shape): Promise<FilesByRole> {
  const files = new Map(["overlay", "base", "new"].map((role) => [role, new MemoryStorage({ name: role })]));
  const baseBytes = shape.baseClusters * CLUSTER;
  for (const [role, seed] of [
    ["base", 1],
    ["new", 2],
  ] as const) {
    const storage = new KeptStorage(storageOf(files, role));
    const disk =
      base === undefined
        ? await RawDisk.open({ storage, size: baseBytes })
        : await Qcow2Image.create({ ...base, storage, size: baseBytes });
    await disk.write({ offset: 0, from: content({ kind: "stamps", seed, length: baseBytes / 2 }) });
    await disk.writeZeroes({ offset: 0, length: baseBytes });
    await disk.write({ offset: 0, from: content({ kind: "stamps", seed, length: 9 * CLUSTER }) });
    // Some of it is the same in both.
    await disk.write({ offset: 11 * CLUSTER, from: new Uint8Array(4 * CLUSTER).fill(7) });
    await disk.close();
  }
  const disk = await Qcow2Image.create({
    ...overlay,
    storage: new KeptStorage(storageOf(files, "overlay")),
    size: shape.overlayClusters * CLUSTER,
    codecs,
    backingFile: { name: "base", format: base === undefined ? "raw" : "qcow2" },
    references: {
      openBackingFile: async ({ name }) => await openDisk(files, name, { readOnly: true }),
      openDataFile: async () => Promise.reject(new Error("there is none")),
    },
  });
  const write = async (first: number, count: number, seed: number): Promise<void> => {
    const [offset, length] = [first * CLUSTER, count * CLUSTER];
    await disk.write({ offset, from: content({ kind: "stamps", seed, offset, length }) });
  };
  await write(2, 3, 3);
  if (shape.snapshot === true) await disk.createSnapshot({ name: "kept" });
  await write(4.5, 2, 4);
  await write(18, 2.25, 5);
  await disk.writeZeroes({ offset: 12 * CLUSTER, length: 2 * CLUSTER });
  await disk.close();
  return files;
}

async function contentOf(disk: Disk): Promise<Uint8Array> {
  const bytes = new Uint8Array(disk.size);
  await disk.read({ offset: 0, into: bytes });
  return bytes;
}

async function expectContent(
  files: FilesByRole,
  role: string,
  expected: Uint8Array,
  { noLeaks = false } = {},
): Promise<void> {
  const disk = await openDisk(files, role, { readOnly: true });
  const found = await contentOf(disk);
  if (Buffer.compare(found.subarray(0, expected.length), expected) !== 0) {
    const at = expected.findIndex((byte, index) => byte !== found[index]);
    throw new Error(`${role} reads differently at ${at}`);
  }
  if (disk instanceof Qcow2Image) {
    expect(await disk.check()).toMatchObject({
      corruptions: 0,
      checkErrors: 0,
      ...(noLeaks ? { leaks: 0 } : {}),
    });
  }
  await disk.close();
}

async function commit(files: FilesByRole, wrap: Wrap = unwrapped): Promise<void> {
  const overlay = (await openDisk(files, "overlay", { wrap })) as Qcow2Image;
  await commitDisk({ overlay, base: overlay.backing as WritableDisk, parallel: 4, chunkBytes: CLUSTER * 4 });
  await overlay.makeEmpty();
  await overlay.close();
}

function recorder(files: FilesByRole, timeline: Timeline): Wrap {
  return (storage, role) =>
    new TimelineStorage(storage, { role, timeline, initial: storageOf(files, role).toBytes() });
}

/** Runs `work` and looks at what a power cut may leave of it. */
async function withCuts(
  files: FilesByRole,
  work: (files: FilesByRole, wrap: Wrap) => Promise<void>,
  look: (files: FilesByRole) => Promise<void>,
): Promise<number> {
  const timeline = new Timeline();
  const changed = copyOf(files);
  await work(changed, recorder(changed, timeline));
  let count = 0;
  for (const state of crashStatesOf(timeline, files, STATES, new Random(1))) {
    try {
      await look(state.files);
    } catch (error) {
      throw new Error(`${state.description}: ${(error as Error).message}`, { cause: error });
    }
    count++;
  }
  return count;
}

it.each(SHAPES)("committing, $name", { timeout: 60_000 }, async (shape) => {
  const files = await build(shape);
  const expected = await contentOf(await openDisk(files, "overlay", { readOnly: true }));
  const base = await contentOf(await openDisk(files, "base", { readOnly: true }));
  const committed = new Uint8Array(Math.max(base.length, expected.length));
  committed.set(base);
  committed.set(expected);
  const count = await withCuts(files, commit, async (cut) => {
    await expectContent(cut, "overlay", expected);
    await commit(cut);
    await expectContent(cut, "overlay", expected);
    await expectContent(cut, "base", committed);
  });
  expect(count).toBeGreaterThan(50);
});

async function rebase(files: FilesByRole, wrap: Wrap = unwrapped): Promise<void> {
  const overlay = (await openDisk(files, "overlay", { wrap })) as Qcow2Image;
  const disk = await openDisk(files, "new", { readOnly: true });
  await rebaseDisk({ overlay, backing: disk, parallel: 4, chunkBytes: CLUSTER * 4 });
  await overlay.setBackingFile({ name: "new", format: disk.format, disk });
  await overlay.close();
}

it.each(SHAPES)("rebasing, $name", { timeout: 60_000 }, async (shape) => {
  const files = await build(shape);
  const expected = await contentOf(await openDisk(files, "overlay", { readOnly: true }));
  const names = new Set<string | undefined>();
  const count = await withCuts(files, rebase, async (cut) => {
    await expectContent(cut, "overlay", expected);
    names.add(((await openDisk(cut, "overlay", { readOnly: true })) as Qcow2Image).info().backingFile);
    await rebase(cut);
    await expectContent(cut, "overlay", expected);
  });
  expect(count).toBeGreaterThan(50);
  expect([...names].sort()).toEqual(["base", "new"]);
});
