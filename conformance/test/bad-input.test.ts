/** Bad input: one line on stderr that names the file, exit code 1, nothing written; and what qemu-img's exit code is. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { expect, it } from "vitest";
import { caseRan } from "../src/case-log.ts";
import { HEADER, poke, poke32, poke64, tablesOf } from "../src/damage.ts";
import { tryOurs } from "../src/ours.ts";
import { describeConformance } from "../src/requires.ts";
import { Workbench } from "../src/workbench.ts";

const GROUP = "bad input: refused with one line, nothing written";

interface BadInput {
  readonly name: string;
  /** What the line on stderr must say, besides the file's name. */
  readonly says: RegExp;
  /** Spoils `image.qcow2`, a good image with data. */
  spoil(file: string): void;
  /** What the line must name; default the image. */
  readonly names?: string;
  /** False where qemu-img accepts it, or does not return (ledger 3 and 4). Default true: it also ends with 1. */
  readonly qemuRefuses?: boolean;
}

const LOOP = "a backing chain that loops";

const INPUTS: readonly BadInput[] = [
  { name: "an empty file", says: /qcow2/, spoil: (file) => truncateSync(file, 0) },
  {
    name: "not a qcow2",
    says: /qcow2/,
    spoil: (file) => writeFileSync(file, "this is a text file\n".repeat(100)),
  },
  {
    name: "a header cut short",
    says: /header|beyond the end|truncated/i,
    spoil: (file) => truncateSync(file, 50),
  },
  {
    name: "an L1 table cut off",
    says: /L1/,
    qemuRefuses: false,
    spoil: (file) => truncateSync(file, tablesOf(file).l1),
  },
  {
    name: "an L1 table beyond the end of the file",
    says: /L1/,
    qemuRefuses: false,
    spoil: (file) => poke64(file, HEADER.l1TableOffset, 2 ** 40),
  },
  { name: "an unaligned L1 table", says: /L1/, spoil: (file) => poke64(file, HEADER.l1TableOffset, 0x30200) },
  { name: "an L1 table of 32 GiB", says: /L1/, spoil: (file) => poke32(file, HEADER.l1Size, 0xffffffff) },
  { name: "an L1 table too small for the disk", says: /L1/, spoil: (file) => poke32(file, HEADER.l1Size, 0) },
  { name: "version 1", says: /version 1/, spoil: (file) => poke32(file, HEADER.version, 1) },
  { name: "version 4", says: /version 4/, spoil: (file) => poke32(file, HEADER.version, 4) },
  {
    name: "an unknown incompatible bit",
    says: /feature/,
    spoil: (file) => poke64(file, HEADER.incompatibleFeatures, 1n << 41n),
  },
  {
    name: "clusters of 256 bytes",
    says: /[Cc]luster size/,
    spoil: (file) => poke32(file, HEADER.clusterBits, 8),
  },
  {
    name: "clusters of 4 MiB",
    says: /[Cc]luster size/,
    spoil: (file) => poke32(file, HEADER.clusterBits, 22),
  },
  {
    name: "refcounts of 128 bits",
    says: /Reference count entry width/,
    spoil: (file) => poke32(file, HEADER.refcountOrder, 7),
  },
  {
    name: "an unknown encryption method",
    says: /encrypt/i,
    spoil: (file) => poke32(file, HEADER.cryptMethod, 9),
  },
  { name: "LUKS without its header", says: /./, spoil: (file) => poke32(file, HEADER.cryptMethod, 2) },
  {
    name: "a backing file name of 4 GiB",
    says: /[Bb]acking/,
    spoil: (file) => {
      poke64(file, HEADER.backingFileOffset, 1024);
      poke32(file, HEADER.backingFileSize, 0xffffffff);
    },
  },
  {
    name: "a missing backing file",
    says: /missing-base/,
    names: "missing-base",
    spoil: (file) => setBacking(file, "missing-base"),
  },
  {
    name: LOOP,
    says: /loop|itself|already/,
    spoil: (file) => setBacking(file, "image.qcow2"),
  },
  {
    name: "a snapshot table beyond the end of the file",
    says: /[Ss]napshot/,
    qemuRefuses: false,
    spoil: (file) => {
      poke32(file, HEADER.snapshotCount, 3);
      poke64(file, HEADER.snapshotsOffset, 2 ** 40);
    },
  },
  {
    name: "four billion snapshots",
    says: /[Ss]napshot/,
    spoil: (file) => poke32(file, HEADER.snapshotCount, 0xffffffff),
  },
  {
    name: "a refcount table of 4 billion clusters",
    says: /refcount|reference count/i,
    spoil: (file) => poke32(file, HEADER.refcountTableClusters, 0xffffffff),
  },
  {
    name: "a header longer than a cluster",
    says: /[Hh]eader/,
    spoil: (file) => poke32(file, HEADER.headerLength, 0x7ffffff8),
  },
  {
    name: "a header extension that runs over the end",
    says: /extension|[Hh]eader/,
    spoil: (file) => {
      poke32(file, 112, 0x12345678);
      poke32(file, 116, 0x7fffffff);
    },
  },
  {
    name: "a data cluster beyond the end of what an offset can be",
    says: /corrupt|offset|invalid/i,
    spoil: (file) => poke64(file, tablesOf(file).l2, 0x80fffffffffffe00n),
  },
  {
    name: "a compressed cluster of nonsense",
    says: /compress|decompress|damaged|corrupt/i,
    spoil: (file) => poke64(file, tablesOf(file).l2, (1n << 62n) | 0x50000n),
  },
];

/** Names a backing file behind the header, with its format. */
function setBacking(file: string, name: string): void {
  poke(file, 112, Buffer.from([0xe2, 0x79, 0x2a, 0xca, 0, 0, 0, 5, ...Buffer.from("qcow2"), 0, 0, 0]));
  poke(file, 128, new Uint8Array(8));
  poke(file, 4096, Buffer.from(name));
  poke64(file, HEADER.backingFileOffset, 4096);
  poke32(file, HEADER.backingFileSize, name.length);
}

await describeConformance(GROUP, {}, ({ reference: qemu }) => {
  it.each(INPUTS)("$name", async ({ name, says, spoil, names = "image.qcow2", qemuRefuses = true }) => {
    using bench = new Workbench("bad");
    const inFolder = { cwd: bench.folder };
    await qemu.img(["create", "-q", "-f", "qcow2", "image.qcow2", "1M"], inFolder);
    await qemu.io("image.qcow2", ["write -P 1 0 128k"], inFolder);
    spoil(bench.path("image.qcow2"));
    const before = readFileSync(bench.path("image.qcow2"));
    writeFileSync(bench.path("old.raw"), "what was there");
    for (const target of ["out.raw", "old.raw"]) {
      const args = ["convert", "-f", "qcow2", "-O", "raw", "image.qcow2", target];
      const result = await tryOurs(args, { ...inFolder, timeoutMs: 20_000 });
      expect(result).toMatchObject({ exitCode: 1, stdout: "" });
      expect(result.stderr.trimEnd().split("\n")).toHaveLength(1);
      expect(result.stderr).toContain(names);
      expect(result.stderr).toMatch(says);
    }
    expect(readdirSync(bench.folder).sort()).toEqual(["image.qcow2", "old.raw"]);
    expect(readFileSync(bench.path("old.raw"), "utf8")).toBe("what was there");
    expect(readFileSync(bench.path("image.qcow2")).equals(before)).toBe(true);
    // A chain that loops keeps qemu-img busy for ever.
    if (name === LOOP) return;
    const args = ["convert", "-f", "qcow2", "-O", "raw", "image.qcow2", "theirs.raw"];
    expect((await qemu.tryImg(args, inFolder)).exitCode).toBe(qemuRefuses ? 1 : 0);
    caseRan(GROUP, qemu.version);
  });

  it("a target that is a directory", async () => {
    using bench = new Workbench("bad");
    writeFileSync(bench.path("source"), Buffer.alloc(1024, 1));
    mkdirSync(bench.path("folder"));
    const args = ["convert", "-f", "raw", "-O", "qcow2", "source", "folder"];
    const result = await tryOurs(args, { cwd: bench.folder });
    expect(result).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/^qcow2: .*folder.*\n$/) });
    expect((await qemu.tryImg(args, { cwd: bench.folder })).exitCode).toBe(1);
    expect(readdirSync(bench.path("folder"))).toEqual([]);
    caseRan(GROUP, qemu.version);
  });

  it("a missing source", async () => {
    using bench = new Workbench("bad");
    const args = ["convert", "-O", "qcow2", "nothing-here", "out"];
    const result = await tryOurs(args, { cwd: bench.folder });
    expect(result).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/^qcow2: .*nothing-here.*\n$/),
    });
    expect((await qemu.tryImg(args, { cwd: bench.folder })).exitCode).toBe(1);
    expect(readdirSync(bench.folder)).toEqual([]);
    caseRan(GROUP, qemu.version);
  });
});

/** Being root is not enough: a container may forbid it, or have no such program. */
function canMount(): boolean {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return false;
  using bench = new Workbench("mount");
  if (spawnSync("mount", ["-t", "tmpfs", "tmpfs", bench.folder]).status !== 0) return false;
  execFileSync("umount", [bench.folder]);
  return true;
}

await describeConformance("no space left on the target", {}, ({ reference: qemu }) => {
  it.skipIf(!canMount())("leaves no target behind (needs the right to mount a small tmpfs)", async () => {
    using bench = new Workbench("full");
    mkdirSync(bench.path("small"));
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", bench.path("small")]);
    try {
      writeFileSync(bench.path("source"), Buffer.alloc(4 * 2 ** 20, 7));
      writeFileSync(bench.path("small/old"), "what was there");
      for (const target of ["small/new", "small/old"]) {
        const args = ["convert", "-f", "raw", "-O", "qcow2", "source", target];
        const result = await tryOurs(args, { cwd: bench.folder });
        expect(result).toMatchObject({
          exitCode: 1,
          stderr: expect.stringMatching(/^qcow2: .*No space left.*\n$/),
        });
      }
      expect(readdirSync(bench.path("small"))).toEqual(["old"]);
      expect(readFileSync(bench.path("small/old"), "utf8")).toBe("what was there");
      const args = ["convert", "-f", "raw", "-O", "qcow2", "source", "small/theirs"];
      expect((await qemu.tryImg(args, { cwd: bench.folder })).exitCode).toBe(1);
      caseRan(GROUP, qemu.version);
    } finally {
      execFileSync("umount", [bench.path("small")]);
    }
  });
});
