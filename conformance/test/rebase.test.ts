/** rebase: the same answers, and overlays that read the same and define the same. */
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { caseRan } from "../src/case-log.ts";
import { buildChain, type ChainLayer } from "../src/chain-files.ts";
import { tryOurs } from "../src/ours.ts";
import { describeConformance } from "../src/requires.ts";
import { expectSameFiles } from "../src/same-files.ts";
import { expectSameAnswerInTwins, expectSameImages, twinFolders } from "../src/twin-folders.ts";
import { Workbench } from "../src/workbench.ts";

const GROUP = "rebase: same answers, content and maps, clean";

const OLD_WRITES = ["write -P 1 0 300k", "write -P 2 500k 100k", "write -P 3 900k 100k", "write -z 600k 64k"];
/** Partly the same. */
const NEW_WRITES = ["write -P 1 0 200k", "write -P 4 400k 150k", "write -P 5 600k 300k"];
const TOP_WRITES = ["write -P 6 64k 100k", "write -z 256k 64k", "write -P 7 700k 64k"];

const OLD: ChainLayer = { options: "cluster_size=64k", size: 1024, writes: OLD_WRITES };
const NEW: ChainLayer = { options: "cluster_size=64k", size: 1024, writes: NEW_WRITES };
const TOP: ChainLayer = { options: "cluster_size=64k", size: 1024, writes: TOP_WRITES };
const RAW: ChainLayer = { ...NEW, options: "raw" };
const ONTO_NEW = ["-b", "new", "-F", "qcow2"];

interface Case {
  readonly what: string;
  /** old, then mid if there are three, then top. */
  readonly layers: readonly ChainLayer[];
  /** What is beside them; default {@link NEW}. */
  readonly beside?: ChainLayer;
  readonly args: readonly string[];
  readonly ledger?: readonly number[];
}

const CASES: readonly Case[] = [
  { what: "another image", layers: [OLD, TOP], args: ONTO_NEW },
  { what: "a raw image", layers: [OLD, TOP], beside: RAW, args: ["-b", "new", "-F", "raw"] },
  {
    what: "a shorter one",
    layers: [OLD, TOP],
    beside: { ...RAW, size: 533 },
    args: ["-b", "new", "-F", "raw"],
  },
  {
    what: "a longer one, -p",
    layers: [OLD, TOP],
    beside: { ...NEW, size: 3000 },
    args: ["-p", ...ONTO_NEW],
    ledger: [6],
  },
  { what: "where the old one is shorter", layers: [{ ...OLD, size: 533 }, TOP], args: ONTO_NEW },
  { what: "where the old one is longer", layers: [{ ...OLD, size: 3000 }, TOP], args: ONTO_NEW },
  {
    what: "where there was none, with all the words",
    layers: [TOP],
    args: ["-q", "-U", "-t", "none", "-T", "unsafe", ...ONTO_NEW],
  },
  {
    what: "small clusters",
    layers: [OLD, { ...TOP, options: "cluster_size=512" }],
    args: ONTO_NEW,
  },
  {
    what: "large clusters",
    layers: [
      { ...OLD, options: "cluster_size=4k" },
      { ...TOP, options: "cluster_size=2M" },
    ],
    args: ONTO_NEW,
  },
  {
    what: "version 2, where the old one is shorter",
    layers: [
      { ...OLD, options: "compat=0.10", size: 533 },
      { ...TOP, options: "compat=0.10" },
    ],
    args: ONTO_NEW,
  },
  {
    what: "subclusters",
    layers: [
      { ...OLD, options: "extended_l2=on" },
      { ...TOP, options: "extended_l2=on" },
    ],
    args: ONTO_NEW,
  },
  { what: "with a snapshot", layers: [OLD, { ...TOP, snapshot: true }], args: ONTO_NEW, ledger: [10] },
  { what: "its own base", layers: [RAW, OLD, TOP], args: ["-b", "old", "-F", "raw"] },
  {
    what: "its own base, the middle one shorter",
    layers: [{ ...RAW, writes: ["write -P 8 0 1M"] }, { ...OLD, size: 400 }, TOP],
    args: ["-b", "old", "-F", "raw"],
  },
  { what: "none", layers: [OLD, TOP], args: ["-b", ""] },
  { what: "none, from three", layers: [RAW, OLD, TOP], args: ["-b", ""] },
  { what: "none, compressed", layers: [OLD, TOP], args: ["-c", "-b", ""] },
  { what: "compressed", layers: [OLD, TOP], args: ["-c", ...ONTO_NEW] },
  { what: "-u", layers: [OLD, TOP], args: ["-u", ...ONTO_NEW] },
  { what: "-u without a name", layers: [OLD, TOP], args: ["-u"] },
  { what: "-u to none", layers: [OLD, TOP], args: ["-u", "-b", "", "-p"] },
];

const REFUSALS: readonly { readonly words: readonly string[]; readonly ledger?: readonly number[] }[] = [
  { words: ["-b", "new", "top"] },
  { words: ["-u", "-b", "new", "top"] },
  { words: ["-b", "new", "-F", "bogus", "top"] },
  { words: ["-b", "missing", "-F", "raw", "top"] },
  { words: ["-f", "raw", "-c", "-b", "new", "-F", "qcow2", "raw"] },
  { words: ["-f", "raw", "-b", "new", "-F", "qcow2", "raw"] },
  { words: ["-f", "raw", "-u", "raw"] },
  { words: ["-t", "sometimes", "-b", "new", "top"] },
  { words: ["-T", "sometimes", "-b", "new", "top"] },
  { words: ["-b", "new", "-F", "qcow2", "missing"] },
  { words: ["-u", "-b", "x".repeat(1024), "-F", "raw", "top"] },
  { words: ["-u", "-b", "x".repeat(400), "-F", "raw", "small"] },
  { words: ["-p", "-b", "missing", "-F", "raw", "top"] },
  { words: ["top"] },
  { words: ["-u", "top", "new"] },
  { words: [] },
];

await describeConformance(GROUP, {}, ({ reference: qemu }) => {
  it.each(CASES)("$what", async ({ layers, beside = NEW, args, ledger }) => {
    using bench = new Workbench("rebase");
    const names = namesOf(layers.length);
    const twins = await twinFolders(bench, async (cwd) => {
      await buildChain(qemu, layers, names, cwd);
      await buildChain(qemu, [beside], ["new"], cwd);
    });
    const answer = await expectSameAnswerInTwins(qemu, twins, ["rebase", ...args, "top"], ledger);
    expect(answer.exitCode).toBe(0);
    // Which zeroes are marked and which are written is another matter: ours marks them wherever it can.
    await expectSameImages(qemu, twins, { images: { top: "qcow2" }, sameZeroes: false });
    caseRan(GROUP, qemu.version);
  });

  it("names are relative to the image, and found from anywhere", async () => {
    using bench = new Workbench("rebase");
    const twins = await twinFolders(bench, async (cwd) => {
      await buildChain(qemu, [OLD, TOP], ["old", "top"], cwd);
      mkdirSync(join(cwd, "deeper"));
      await buildChain(qemu, [NEW], ["new"], join(cwd, "deeper"));
    });
    await expectSameAnswerInTwins(qemu, twins, ["rebase", "-b", "deeper/new", "-F", "qcow2", "./top"]);
    await expectSameImages(qemu, twins, { images: { top: "qcow2" }, sameZeroes: false });
    caseRan(GROUP, qemu.version);
  });

  it("refusals", async () => {
    using bench = new Workbench("rebase");
    const twins = await twinFolders(bench, async (cwd) => {
      await buildChain(qemu, [OLD, TOP], ["old", "top"], cwd);
      await buildChain(qemu, [NEW], ["new"], cwd);
      await buildChain(qemu, [RAW], ["raw"], cwd);
      await buildChain(qemu, [{ ...NEW, options: "cluster_size=512" }], ["small"], cwd);
    });
    for (const { words, ledger } of REFUSALS) {
      const answer = await expectSameAnswerInTwins(qemu, twins, ["rebase", ...words], ledger);
      expect(answer.exitCode).toBe(1);
      caseRan(GROUP, qemu.version);
    }
    // QEMU may have copied something before it refused.
    await expectSameImages(qemu, twins, { images: { top: "qcow2", small: "qcow2" }, sameMaps: false });
  });

  it("a chain that would come back to the image is refused (ledger 11)", async () => {
    using bench = new Workbench("rebase");
    const cwd = bench.folder;
    await buildChain(qemu, [OLD, { ...OLD, writes: [] }, TOP], ["old", "mid", "top"], cwd);
    for (const [target, onto, ...unsafe] of [
      ["mid", "top"],
      ["old", "top", "-u"],
      ["top", "top"],
      ["mid", "./mid", "-u"],
    ] as const) {
      copyFileSync(bench.path(target), bench.path("before"));
      const args = ["rebase", ...unsafe, "-b", onto, "-F", "qcow2", target];
      const answer = await tryOurs(args, { cwd });
      expect({ args, ...answer }).toMatchObject({ exitCode: 1, stdout: "" });
      expect(answer.stderr).toMatch(/would come back to/);
      expectSameFiles(bench.path(target), bench.path("before"));
    }
    caseRan(GROUP, qemu.version);
  });
});

function namesOf(count: number): string[] {
  return ["old", "mid", "top"].slice(0, count - 1).concat("top");
}
