/** Ways to damage an image on purpose, by name; each needs the image of {@link makeRepairable}. */
import { closeSync, ftruncateSync, openSync, readFileSync, statSync } from "node:fs";
import { COMPRESSED, COPIED, HEADER, hostOf, peek64, poke, poke32, poke64, tablesOf } from "./damage.ts";
import type { QemuRelease } from "./qemu-release.ts";

const CLUSTER = 65536;
const BITMAPS_EXTENSION = 0x23852875;

export interface DamageKind {
  readonly name: string;
  /** What of it no repair can read: it is left as it is unless told with this option. */
  readonly discards?: "--discard-snapshots" | "--discard-bitmaps";
  damage(file: string): void;
}

/** How an image that is to be damaged is made. */
export interface RepairableShape {
  readonly name: string;
  readonly create: readonly string[];
  readonly hasZeroes: boolean;
  readonly hasBitmap: boolean;
  readonly l2EntryBytes: number;
}

export const REPAIRABLE_SHAPES: readonly RepairableShape[] = [
  { name: "version 3", create: [], hasZeroes: true, hasBitmap: true, l2EntryBytes: 8 },
  { name: "version 2", create: ["-o", "compat=0.10"], hasZeroes: false, hasBitmap: false, l2EntryBytes: 8 },
  {
    name: "overlay",
    create: ["-b", "base", "-F", "qcow2"],
    hasZeroes: true,
    hasBitmap: true,
    l2EntryBytes: 8,
  },
  {
    name: "extended L2",
    create: ["-o", "extended_l2=on"],
    hasZeroes: true,
    hasBitmap: false,
    l2EntryBytes: 16,
  },
];

/**
 * An image of 4 MiB with clusters of 64 KiB: 16 clusters of data, of which a snapshot shares all but the first four; one
 * compressed cluster at 2 MiB; one zero cluster with a host cluster at 1 MiB.
 */
export async function makeRepairable(shape: RepairableShape, qemu: QemuRelease, cwd: string): Promise<void> {
  await qemu.img(["create", "-q", "-f", "qcow2", "base", "4M"], { cwd });
  await qemu.io("base", ["write -P 9 0 4M"], { cwd });
  await qemu.img(["create", "-q", "-f", "qcow2", ...shape.create, "image", "4M"], { cwd });
  await qemu.io("image", ["write -c -P 6 2M 64k", "write -P 1 0 1M"], { cwd });
  await qemu.img(["snapshot", "-c", "one", "image"], { cwd });
  await qemu.img(["snapshot", "-c", "two", "image"], { cwd });
  await qemu.io(
    "image",
    ["write -P 2 0 256k", ...(shape.hasZeroes ? ["write -P 3 1M 64k", "write -z 1M 64k"] : [])],
    { cwd },
  );
  if (shape.hasBitmap) {
    await qemu.img(["bitmap", "--add", "image", "b"], { cwd });
    await qemu.img(["bitmap", "--add", "image", "c"], { cwd });
    await qemu.io("image", ["write -P 2 0 64k"], { cwd });
  }
}

/** Byte position of the L2 entry of a guest cluster. */
function l2At(file: string, index: number, entryBytes: number): number {
  return tablesOf(file).l2 + index * entryBytes;
}

function setRefcount(file: string, hostOffset: number, refcount: number): void {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(refcount);
  poke(file, tablesOf(file).refcountBlock + (hostOffset / CLUSTER) * 2, bytes);
}

function snapshotsAt(file: string): number {
  return Number(peek64(file, HEADER.snapshotsOffset));
}

/** Where the data of the bitmaps extension is, and where the directory is that it names. */
function bitmapsAt(file: string): { readonly extension: number; readonly directory: number } {
  const bytes = readFileSync(file);
  for (let at = bytes.readUInt32BE(HEADER.headerLength); at < CLUSTER; ) {
    const length = bytes.readUInt32BE(at + 4);
    if (bytes.readUInt32BE(at) === BITMAPS_EXTENSION) {
      return { extension: at + 8, directory: Number(bytes.readBigUInt64BE(at + 24)) };
    }
    at += 8 + Math.ceil(length / 8) * 8;
  }
  throw new Error(`${file} has no bitmaps`);
}

function endOf(file: string): number {
  return Math.ceil(statSync(file).size / CLUSTER) * CLUSTER;
}

function truncateTo(file: string, size: number): void {
  const descriptor = openSync(file, "r+");
  ftruncateSync(descriptor, size);
  closeSync(descriptor);
}

const FAR = 0xff050000;

/** The kinds that make sense for a shape. */
export function damageKinds({ hasZeroes, hasBitmap, l2EntryBytes }: RepairableShape): readonly DamageKind[] {
  const entry = (file: string, index: number): number => l2At(file, index, l2EntryBytes);
  const kinds: DamageKind[] = [
    {
      name: "a data cluster without refcount",
      damage: (file) => setRefcount(file, hostOf(file, entry(file, 0)), 0),
    },
    {
      name: "a shared cluster with refcount 1",
      damage: (file) => setRefcount(file, hostOf(file, entry(file, 8)), 1),
    },
    { name: "an L2 table without refcount", damage: (file) => setRefcount(file, tablesOf(file).l2, 0) },
    { name: "an L1 table without refcount", damage: (file) => setRefcount(file, tablesOf(file).l1, 0) },
    { name: "a header without refcount", damage: (file) => setRefcount(file, 0, 0) },
    {
      name: "a refcount that is too high",
      damage: (file) => setRefcount(file, hostOf(file, entry(file, 1)), 5),
    },
    {
      name: "leaked clusters",
      damage: (file) => {
        const end = endOf(file);
        truncateTo(file, end + 3 * CLUSTER);
        for (const index of [0, 1, 2]) setRefcount(file, end + index * CLUSTER, 1);
      },
    },
    {
      name: "COPIED missing",
      damage: (file) => poke64(file, entry(file, 0), peek64(file, entry(file, 0)) & ~COPIED),
    },
    {
      name: "COPIED on a shared cluster",
      damage: (file) => poke64(file, entry(file, 8), peek64(file, entry(file, 8)) | COPIED),
    },
    {
      name: "COPIED missing in the L1 table",
      damage: (file) => poke64(file, tablesOf(file).l1, peek64(file, tablesOf(file).l1) & ~COPIED),
    },
    {
      name: "cross-linked clusters",
      damage: (file) => poke64(file, entry(file, 0), peek64(file, entry(file, 1))),
    },
    {
      name: "a data cluster that is not aligned",
      damage: (file) => poke64(file, entry(file, 0), peek64(file, entry(file, 0)) + 512n),
    },
    {
      name: "a data cluster behind the end",
      damage: (file) => poke64(file, entry(file, 0), COPIED | BigInt(FAR)),
    },
    {
      name: "a reserved bit in an L2 entry",
      damage: (file) => poke64(file, entry(file, 0), peek64(file, entry(file, 0)) | (1n << 60n)),
    },
    {
      name: "a compressed cluster with COPIED",
      damage: (file) => poke64(file, entry(file, 32), peek64(file, entry(file, 32)) | COPIED),
    },
    {
      name: "compressed data behind the end",
      damage: (file) => poke64(file, entry(file, 32), COMPRESSED | BigInt(FAR)),
    },
    {
      name: "a reserved bit in an L1 entry",
      damage: (file) => poke64(file, tablesOf(file).l1, peek64(file, tablesOf(file).l1) | (1n << 60n)),
    },
    {
      name: "an L2 table that is not aligned",
      damage: (file) => poke64(file, tablesOf(file).l1, peek64(file, tablesOf(file).l1) + 512n),
    },
    {
      name: "an L2 table behind the end",
      damage: (file) => poke64(file, tablesOf(file).l1, COPIED | BigInt(FAR)),
    },
    {
      name: "an L2 table that is a data cluster, too",
      damage: (file) => poke64(file, entry(file, 5), BigInt(tablesOf(file).l2)),
    },
    {
      name: "a refcount block that is not aligned",
      damage: (file) =>
        poke64(file, tablesOf(file).refcountTable, BigInt(tablesOf(file).refcountBlock + 512)),
    },
    {
      name: "a refcount block behind the end",
      damage: (file) => poke64(file, tablesOf(file).refcountTable, FAR),
    },
    {
      name: "a refcount block that is a data cluster",
      damage: (file) => poke64(file, tablesOf(file).refcountTable, hostOf(file, entry(file, 9))),
    },
    {
      name: "a refcount block that is an L2 table",
      damage: (file) => poke64(file, tablesOf(file).refcountTable, tablesOf(file).l2),
    },
    {
      name: "a refcount block that is the L1 table",
      damage: (file) => poke64(file, tablesOf(file).refcountTable, tablesOf(file).l1),
    },
    { name: "no refcount block", damage: (file) => poke64(file, tablesOf(file).refcountTable, 0) },
    {
      name: "a reserved bit in the refcount table",
      damage: (file) => poke64(file, tablesOf(file).refcountTable, tablesOf(file).refcountBlock + 1),
    },
    {
      name: "refcounts of zero everywhere",
      damage: (file) => poke(file, tablesOf(file).refcountBlock, new Uint8Array(CLUSTER)),
    },
    {
      name: "a refcount table behind the end",
      damage: (file) => poke64(file, HEADER.refcountTableOffset, FAR),
    },
    {
      name: "a snapshot table that is not aligned",
      discards: "--discard-snapshots",
      damage: (file) => poke64(file, HEADER.snapshotsOffset, snapshotsAt(file) + 512),
    },
    {
      name: "a snapshot table behind the end",
      discards: "--discard-snapshots",
      damage: (file) => poke64(file, HEADER.snapshotsOffset, FAR),
    },
    { name: "more snapshots than the table has", damage: (file) => poke32(file, HEADER.snapshotCount, 3) },
    {
      name: "a snapshot's L1 table that is not aligned",
      discards: "--discard-snapshots",
      damage: (file) => poke64(file, snapshotsAt(file), peek64(file, snapshotsAt(file)) + 512n),
    },
    {
      name: "a snapshot's L1 table behind the end",
      discards: "--discard-snapshots",
      damage: (file) => poke64(file, snapshotsAt(file), FAR),
    },
    {
      name: "a snapshot with too much extra data",
      discards: "--discard-snapshots",
      damage: (file) => poke32(file, snapshotsAt(file) + 36, 70_000),
    },
    {
      name: "a file that was cut off",
      // The bitmaps are what was written last.
      ...(hasBitmap && { discards: "--discard-bitmaps" as const }),
      damage: (file) => truncateTo(file, statSync(file).size - 2.5 * CLUSTER),
    },
  ];
  if (hasZeroes && l2EntryBytes === 8) {
    kinds.push({
      name: "a zero cluster that is not aligned",
      damage: (file) => poke64(file, entry(file, 16), peek64(file, entry(file, 16)) + 512n),
    });
  }
  if (l2EntryBytes === 16) {
    kinds.push(
      { name: "subclusters allocated and zero", damage: (file) => poke32(file, entry(file, 0) + 8, 0xff) },
      { name: "subclusters without a cluster", damage: (file) => poke32(file, entry(file, 40) + 12, 0xff) },
    );
  }
  if (hasBitmap) {
    kinds.push(
      {
        name: "a bitmap directory that is not aligned",
        discards: "--discard-bitmaps",
        damage: (file) => poke64(file, bitmapsAt(file).extension + 16, bitmapsAt(file).directory + 512),
      },
      {
        name: "a bitmap directory behind the end",
        discards: "--discard-bitmaps",
        damage: (file) => poke64(file, bitmapsAt(file).extension + 16, FAR),
      },
      {
        name: "more bitmaps than the directory has",
        discards: "--discard-bitmaps",
        damage: (file) => poke32(file, bitmapsAt(file).extension, 3),
      },
      {
        name: "a bitmap table that is not aligned",
        discards: "--discard-bitmaps",
        damage: (file) =>
          poke64(file, bitmapsAt(file).directory, peek64(file, bitmapsAt(file).directory) + 512n),
      },
      {
        name: "a reserved bit in a bitmap table",
        discards: "--discard-bitmaps",
        damage: (file) => poke64(file, Number(peek64(file, bitmapsAt(file).directory)), 1n << 60n),
      },
      { name: "dirty and corrupt bits", damage: (file) => poke64(file, HEADER.incompatibleFeatures, 3) },
    );
  }
  return kinds;
}
