/** Images of every shape, made by QEMU: small, but each with something that a reader can get wrong. */
import { closeSync, ftruncateSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { content } from "@qcow2/testing";
import type { QemuRelease } from "./qemu-release.ts";

/** What a shape is built with; all file names are relative to `folder`, as they are in the images. */
export interface Kit {
  readonly folder: string;
  readonly qemu: QemuRelease;
}

export interface Shape {
  readonly name: string;
  readonly format: "qcow2" | "raw";
  /** Makes the image under the name {@link IMAGE}, with whatever other files belong to it. */
  make(kit: Kit): Promise<void>;
}

/** The name of the image that a shape is about. */
export const IMAGE = "image";

const KIB = 1024;
const MIB = 1024 * KIB;

/** Data, zeroes, discards and compressed clusters across a disk of at least 16 clusters, for any cluster size. */
export function everyKindOfCluster(clusterSize: number, options: { compressed?: boolean } = {}): string[] {
  const at = (clusters: number): number => Math.round(clusters * clusterSize);
  const compressed = options.compressed ?? true;
  return [
    `write -P 1 0 ${at(3)}`,
    `write -P 2 ${at(4.5)} ${at(1)}`,
    `write -z ${at(1)} ${at(1)}`,
    `write -zu ${at(5)} ${at(1)}`,
    `write -z ${at(7)} ${at(2)}`,
    ...(compressed
      ? [
          `write -c -P 3 ${at(9)} ${at(1)}`,
          `write -c -P 4 ${at(10)} ${at(1)}`,
          `write -c -P 5 ${at(14)} ${at(1)}`,
        ]
      : []),
    `write -P 6 ${at(12)} 512`,
    `discard ${at(2)} ${at(1)}`,
    `write -P 7 ${at(10)} 512`,
  ];
}

/** Writes a raw file with data at the given ranges and holes elsewhere. */
export function writeSparseRaw(
  file: string,
  length: number,
  data: readonly { readonly offset: number; readonly length: number }[],
): void {
  writeFileSync(file, "");
  const descriptor = openSync(file, "r+");
  try {
    ftruncateSync(descriptor, length);
    for (const range of data) {
      const end = Math.min(range.offset + range.length, length);
      if (end <= range.offset) continue;
      const bytes = content({ kind: "stamps", seed: range.offset % 251, length: end - range.offset });
      writeSync(descriptor, bytes, 0, bytes.length, range.offset);
    }
  } finally {
    closeSync(descriptor);
  }
}

interface CreateShape {
  readonly options?: string;
  readonly size: number;
  readonly backing?: { readonly name: string; readonly format: string };
  readonly io?: readonly string[];
  readonly image?: string;
}

async function create(
  { folder, qemu }: Kit,
  { options, size, backing, io = [], image = IMAGE }: CreateShape,
): Promise<void> {
  const args = ["create", "-q", "-f", "qcow2"];
  if (options !== undefined) args.push("-o", options);
  if (backing !== undefined) args.push("-b", backing.name, "-F", backing.format);
  await qemu.img([...args, image, String(size)], { cwd: folder });
  await qemu.io(image, io, { cwd: folder });
}

function qcow2(name: string, shape: CreateShape | ((kit: Kit) => Promise<void>)): Shape {
  const make = typeof shape === "function" ? shape : async (kit: Kit): Promise<void> => create(kit, shape);
  return { name, format: "qcow2", make };
}

function clusterSizeShapes(): Shape[] {
  return [512, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, 2 * MIB].map((clusterSize) =>
    qcow2(`clusters of ${clusterSize} bytes`, {
      options: `cluster_size=${clusterSize}`,
      size: clusterSize * 16 + 512,
      io: everyKindOfCluster(clusterSize),
    }),
  );
}

function refcountShapes(): Shape[] {
  return [1, 2, 4, 8, 16, 32, 64].map((bits) =>
    qcow2(`refcounts of ${bits} bits`, {
      options: `refcount_bits=${bits},cluster_size=512`,
      size: MIB,
      io: everyKindOfCluster(512),
    }),
  );
}

function extendedL2Shapes(): Shape[] {
  return [16 * KIB, 64 * KIB, 128 * KIB].map((clusterSize) =>
    qcow2(`subclusters of ${clusterSize / 32} bytes`, {
      options: `extended_l2=on,cluster_size=${clusterSize}`,
      size: clusterSize * 20 + 1536,
      io: [
        ...everyKindOfCluster(clusterSize),
        `write -P 8 ${clusterSize * 16 + clusterSize / 32} ${clusterSize / 16}`,
        `write -z ${clusterSize * 16 + clusterSize / 2} ${clusterSize / 32}`,
        `write -P 9 ${clusterSize * 18 + clusterSize / 4} 100`,
      ],
    }),
  );
}

function preallocationShapes(): Shape[] {
  return ["metadata", "falloc", "full"].flatMap((preallocation) => [
    qcow2(`preallocation ${preallocation}`, {
      options: `preallocation=${preallocation},cluster_size=4k`,
      size: MIB + 512,
      io: ["write -P 1 8k 20k"],
    }),
    qcow2(`preallocation ${preallocation} with subclusters`, {
      options: `preallocation=${preallocation},cluster_size=64k,extended_l2=on`,
      size: MIB + 512,
      io: ["write -P 1 8k 20k"],
    }),
  ]);
}

const BACKING_SIZES = [
  { what: "shorter", size: 300 * KIB },
  { what: "longer", size: 3 * MIB },
  { what: "odd and shorter", size: 300 * KIB + 512 },
];

function backingShapes(): Shape[] {
  const overlay = everyKindOfCluster(64 * KIB);
  return [
    ...BACKING_SIZES.flatMap(({ what, size }) => [
      qcow2(`a ${what} qcow2 backing file`, async (kit) => {
        await create(kit, {
          size,
          image: "base",
          io: ["write -P 20 0 100k", "write -z 128k 64k", "write -P 21 250k 20k"],
        });
        await create(kit, { size: MIB, backing: { name: "base", format: "qcow2" }, io: overlay });
      }),
      qcow2(`a ${what} raw backing file, length no multiple of 512`, async (kit) => {
        writeSparseRaw(join(kit.folder, "base"), size + 77, [
          { offset: 0, length: 100 * KIB },
          { offset: 200 * KIB, length: 150 * KIB },
        ]);
        await create(kit, { size: MIB, backing: { name: "base", format: "raw" }, io: overlay });
      }),
    ]),
    qcow2("an empty overlay, longer than its base", async (kit) => {
      await create(kit, { size: 200 * KIB, image: "base", io: ["write -P 20 0 200k"] });
      await create(kit, { size: MIB, backing: { name: "base", format: "qcow2" } });
    }),
    qcow2("three layers of different cluster sizes", async (kit) => {
      writeSparseRaw(join(kit.folder, "raw"), 700_001, [{ offset: 4096, length: 600_000 }]);
      await create(kit, {
        options: "cluster_size=4k",
        size: 2 * MIB,
        image: "middle",
        backing: { name: "raw", format: "raw" },
        io: ["write -P 30 0 6k", "write -z 20k 8k", "write -P 31 1800k 64k"],
      });
      await create(kit, {
        options: "cluster_size=512",
        size: MIB + 1536,
        backing: { name: "middle", format: "qcow2" },
        io: ["write -P 40 2k 512", "discard 1k 512", "write -z 22k 1k"],
      });
    }),
    qcow2("subclusters over a backing file", async (kit) => {
      await create(kit, { size: 200 * KIB, image: "base", io: ["write -P 20 0 200k"] });
      await create(kit, {
        options: "extended_l2=on,cluster_size=32k",
        size: MIB,
        backing: { name: "base", format: "qcow2" },
        io: ["write -P 1 3k 2k", "write -z 40k 3k", "write -P 2 190k 30k", "discard 96k 32k"],
      });
    }),
    qcow2("version 2 over a backing file", async (kit) => {
      await create(kit, { size: 200 * KIB, image: "base", io: ["write -P 20 0 200k"] });
      await create(kit, {
        options: "compat=0.10,cluster_size=4k",
        size: MIB,
        backing: { name: "base", format: "qcow2" },
        io: ["write -P 1 3k 2k", "write -z 40k 8k", "discard 96k 32k"],
      });
    }),
  ];
}

function dataFileShapes(): Shape[] {
  return ["off", "on"].flatMap((raw) => [
    qcow2(`a data file, raw ${raw}`, {
      options: `data_file=data,data_file_raw=${raw},cluster_size=4k`,
      size: MIB + 512,
      io: everyKindOfCluster(4 * KIB, { compressed: false }),
    }),
    qcow2(`a data file, raw ${raw}, with preallocation`, {
      options: `data_file=data,data_file_raw=${raw},preallocation=metadata`,
      size: MIB + 512,
      io: everyKindOfCluster(32 * KIB, { compressed: false }),
    }),
  ]);
}

function snapshotShapes(): Shape[] {
  return ["0.10", "1.1"].map((compat) =>
    qcow2(`snapshots, compat ${compat}`, async (kit) => {
      const inFolder = { cwd: kit.folder };
      await create(kit, {
        options: `compat=${compat},cluster_size=4k`,
        size: MIB,
        io: everyKindOfCluster(4 * KIB),
      });
      await kit.qemu.img(["snapshot", "-c", "first", IMAGE], inFolder);
      await kit.qemu.io(IMAGE, ["write -P 50 0 10k", "discard 20k 8k"], inFolder);
      await kit.qemu.img(["snapshot", "-c", "a second, with spaces", IMAGE], inFolder);
      if (compat === "1.1") {
        // Version 2 cannot: its snapshots do not say how long the disk was.
        await kit.qemu.img(["resize", "-q", IMAGE, "2M"], inFolder);
        await kit.qemu.io(IMAGE, ["write -P 51 1500k 10k"], inFolder);
      }
      await kit.qemu.img(["snapshot", "-d", "first", IMAGE], inFolder);
    }),
  );
}

function otherShapes(): Shape[] {
  return [
    qcow2("an empty disk", { size: 0 }),
    qcow2("nothing written", { size: 10 * MIB }),
    qcow2("one sector", { size: 512, io: ["write -P 1 0 512"] }),
    qcow2("version 2", {
      options: "compat=0.10,cluster_size=4k",
      size: MIB + 512,
      io: everyKindOfCluster(4 * KIB),
    }),
    qcow2("lazy refcounts", {
      options: "lazy_refcounts=on,cluster_size=4k",
      size: MIB,
      io: everyKindOfCluster(4 * KIB),
    }),
    qcow2("zstd", {
      options: "compression_type=zstd,cluster_size=16k",
      size: MIB,
      io: everyKindOfCluster(16 * KIB),
    }),
    qcow2("a 1 TiB disk with data at both ends", {
      size: 2 ** 40,
      io: ["write -P 1 0 64k", `write -P 2 ${2 ** 40 - 65536} 64k`, `write -P 3 ${2 ** 39 + 12345} 1`],
    }),
    qcow2("bitmaps", async (kit) => {
      const inFolder = { cwd: kit.folder };
      await create(kit, { options: "cluster_size=4k", size: MIB, io: everyKindOfCluster(4 * KIB) });
      await kit.qemu.img(["bitmap", "--add", IMAGE, "daily"], inFolder);
      await kit.qemu.img(["bitmap", "--add", "-g", "4k", "--disable", IMAGE, "weekly bitmap"], inFolder);
      await kit.qemu.io(IMAGE, ["write -P 9 100k 100k"], inFolder);
    }),
    qcow2("all of one cluster kind after another", {
      options: "cluster_size=4k",
      size: 200 * KIB,
      io: [
        ...Array.from({ length: 8 }, (_, index) => `write -P ${index + 1} ${index * 4}k 4k`),
        ...Array.from({ length: 8 }, (_, index) => `write -c -P ${index + 1} ${32 + index * 4}k 4k`),
        ...Array.from({ length: 8 }, (_, index) => `write -z ${64 + index * 4}k 4k`),
        ...Array.from({ length: 8 }, (_, index) => `write -P 1 ${124 - index * 4}k 4k`),
      ],
    }),
  ];
}

function rawShapes(): Shape[] {
  const raw = (name: string, length: number, data: readonly { offset: number; length: number }[]): Shape => ({
    name,
    format: "raw",
    make: async ({ folder }) => writeSparseRaw(join(folder, IMAGE), length, data),
  });
  return [
    raw("a raw file", MIB, [
      { offset: 0, length: 64 * KIB },
      { offset: 256 * KIB, length: 4096 },
      { offset: MIB - 4096, length: 4096 },
    ]),
    raw("a raw file whose length is no multiple of 512", MIB + 77, [
      { offset: 8192, length: 64 * KIB },
      { offset: MIB, length: 77 },
    ]),
    raw("a raw file that is all hole, of odd length", 300_001, []),
    raw("a raw file of one byte", 1, [{ offset: 0, length: 1 }]),
    raw("an empty raw file", 0, []),
  ];
}

/** Every shape; the names are unique. */
export const SHAPES: readonly Shape[] = [
  ...clusterSizeShapes(),
  ...refcountShapes(),
  ...extendedL2Shapes(),
  ...preallocationShapes(),
  ...backingShapes(),
  ...dataFileShapes(),
  ...snapshotShapes(),
  ...otherShapes(),
  ...rawShapes(),
];
