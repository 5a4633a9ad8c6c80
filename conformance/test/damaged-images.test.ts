/** check on damaged images: the same counts and exit code as qemu-img 10.0, and nothing is written. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { caseRan } from "../src/case-log.ts";
import { COMPRESSED, COPIED, HEADER, peek64, poke, poke32, poke64, tablesOf } from "../src/damage.ts";
import { tryOursInProcess } from "../src/ours-in-process.ts";
import { describeConformance } from "../src/requires.ts";
import { Workbench } from "../src/workbench.ts";

const GROUP = "check: damaged images counted as QEMU counts them";
const CLUSTER = 65536;

interface Damage {
  readonly name: string;
  /** Changes an image that has data in guest clusters 0, 1 and 2, and a compressed cluster 4. */
  apply(file: string): void;
}

const DAMAGES: readonly Damage[] = [
  {
    name: "a leaked cluster",
    apply: (file) => poke(file, tablesOf(file).refcountBlock + 2 * 20, Buffer.from([0, 1])),
  },
  {
    name: "a reference removed",
    apply: (file) => poke64(file, tablesOf(file).l2 + 8, 0),
  },
  {
    name: "a refcount of 0 for a cluster in use",
    apply: (file) => {
      const cluster = Number((peek64(file, tablesOf(file).l2) & 0x00fffffffffffe00n) / BigInt(CLUSTER));
      poke(file, tablesOf(file).refcountBlock + 2 * cluster, Buffer.from([0, 0]));
    },
  },
  {
    name: "a refcount that is too high",
    apply: (file) => {
      const cluster = Number((peek64(file, tablesOf(file).l2) & 0x00fffffffffffe00n) / BigInt(CLUSTER));
      poke(file, tablesOf(file).refcountBlock + 2 * cluster, Buffer.from([0, 5]));
    },
  },
  {
    name: "two guest clusters that share one host cluster",
    apply: (file) => poke64(file, tablesOf(file).l2 + 8, peek64(file, tablesOf(file).l2)),
  },
  {
    name: "COPIED missing in an L2 entry",
    apply: (file) => poke64(file, tablesOf(file).l2, peek64(file, tablesOf(file).l2) & ~COPIED),
  },
  {
    name: "COPIED missing in the L1 entry",
    apply: (file) => poke64(file, tablesOf(file).l1, peek64(file, tablesOf(file).l1) & ~COPIED),
  },
  {
    name: "an unaligned data cluster",
    apply: (file) => poke64(file, tablesOf(file).l2, peek64(file, tablesOf(file).l2) + 512n),
  },
  {
    name: "a data cluster beyond the end of the file",
    apply: (file) => poke64(file, tablesOf(file).l2, COPIED | (1n << 40n)),
  },
  {
    name: "a data cluster over the header",
    apply: (file) => poke64(file, tablesOf(file).l2 + 24, COPIED | BigInt(0x10000)),
  },
  {
    name: "an L2 table beyond the end of the file",
    apply: (file) => poke64(file, tablesOf(file).l1, COPIED | (1n << 32n)),
  },
  {
    name: "an unaligned L2 table",
    apply: (file) => poke64(file, tablesOf(file).l1, peek64(file, tablesOf(file).l1) + 512n),
  },
  {
    name: "reserved bits in an L2 entry",
    apply: (file) => poke64(file, tablesOf(file).l2, peek64(file, tablesOf(file).l2) | 0x3en),
  },
  {
    name: "a compressed cluster with COPIED",
    apply: (file) => poke64(file, tablesOf(file).l2 + 32, peek64(file, tablesOf(file).l2 + 32) | COPIED),
  },
  {
    name: "a compressed cluster beyond the end of the file",
    apply: (file) => poke64(file, tablesOf(file).l2 + 32, COMPRESSED | (1n << 45n)),
  },
  {
    name: "a refcount block beyond the end of the file",
    apply: (file) => poke64(file, tablesOf(file).refcountTable, 1n << 40n),
  },
  {
    name: "an unaligned refcount block",
    apply: (file) =>
      poke64(file, tablesOf(file).refcountTable, peek64(file, tablesOf(file).refcountTable) + 512n),
  },
  {
    name: "no refcount block",
    apply: (file) => poke64(file, tablesOf(file).refcountTable, 0),
  },
  {
    name: "the corrupt bit",
    apply: (file) => poke64(file, HEADER.incompatibleFeatures, 2),
  },
  {
    name: "the dirty bit",
    apply: (file) => poke64(file, HEADER.incompatibleFeatures, 1),
  },
  {
    name: "an L1 table that is longer than the disk needs",
    apply: (file) => poke32(file, HEADER.l1Size, 8),
  },
];

await describeConformance(GROUP, {}, ({ reference: qemu }) => {
  it.each(DAMAGES)("$name", async ({ apply }) => {
    using bench = new Workbench("damaged");
    const inFolder = { cwd: bench.folder };
    await qemu.img(["create", "-q", "-f", "qcow2", "image", "10M"], inFolder);
    await qemu.io("image", ["write -P 1 0 192k", "write -c -P 2 256k 64k"], inFolder);
    apply(bench.path("image"));
    const before = digest(bench.path("image"));
    for (const args of [
      ["check", "--output=json", "image"],
      ["check", "image"],
    ]) {
      const [actual, expected] = await Promise.all([
        tryOursInProcess(args, inFolder),
        qemu.tryImg(args, inFolder),
      ]);
      expect({ exitCode: actual.exitCode, stdout: actual.stdout }).toEqual({
        exitCode: expected.exitCode,
        stdout: expected.stdout,
      });
    }
    expect(digest(bench.path("image"))).toBe(before);
    caseRan(GROUP, qemu.version);
  });
});

function digest(file: string): string {
  return createHash("sha256").update(readFileSync(file)).digest("hex");
}
