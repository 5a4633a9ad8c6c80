/** commit: the same answers, and the same content in every file of the chain. */
import type { Qcow2Image } from "@qcow2/core";
import { openDisk } from "@qcow2/node";
import { expect, it } from "vitest";
import { caseRan } from "../src/case-log.ts";
import { buildChain, type ChainLayer } from "../src/chain-files.ts";
import { tryOurs, tryOursAsQemuImg } from "../src/ours.ts";
import { describeConformance } from "../src/requires.ts";
import { expectSameAnswer } from "../src/same-answer.ts";
import { expectSameAnswerInTwins, expectSameImages, twinFolders } from "../src/twin-folders.ts";
import { Workbench } from "../src/workbench.ts";

const GROUP = "commit: same answers, content and maps, clean";

interface Case {
  readonly what: string;
  /** base, then mid if there are three, then top. */
  readonly layers: readonly ChainLayer[];
  readonly args?: readonly string[];
  readonly ledger?: readonly number[];
  /** The top's file is as short as QEMU's afterwards. */
  readonly sameLength?: boolean;
  /** QEMU copies pieces of 64 KiB, which define more in the base than what the overlay holds. */
  readonly coarse?: boolean;
}

const BASE_WRITES = ["write -P 1 0 300k", "write -P 2 500k 100k"];
const TOP_WRITES = [
  "write -P 3 64k 100k",
  "write -z 256k 128k",
  "write -P 4 700k 200k",
  "write -P 0 960k 64k",
];

const RAW: ChainLayer = { options: "raw", size: 1024, writes: BASE_WRITES };
const BASE: ChainLayer = { options: "cluster_size=64k", size: 1024, writes: BASE_WRITES };
const TOP: ChainLayer = { options: "cluster_size=64k", size: 1024, writes: TOP_WRITES };
const COMPRESSED = ["write -c -P 5 0 64k", "write -c -P 6 128k 192k"];

const CASES: readonly Case[] = [
  { what: "qcow2 over qcow2", layers: [BASE, TOP], sameLength: true },
  { what: "over raw", layers: [RAW, TOP], sameLength: true },
  {
    what: "small clusters",
    layers: [
      { ...BASE, options: "cluster_size=512" },
      { ...TOP, options: "cluster_size=512" },
    ],
  },
  { what: "large clusters", layers: [BASE, { ...TOP, options: "cluster_size=2M" }], sameLength: true },
  { what: "large clusters below", layers: [{ ...BASE, options: "cluster_size=2M" }, TOP], sameLength: true },
  {
    what: "version 2",
    layers: [
      { ...BASE, options: "compat=0.10" },
      { ...TOP, options: "compat=0.10" },
    ],
  },
  {
    what: "subclusters",
    layers: [
      { ...BASE, options: "extended_l2=on,cluster_size=64k" },
      { ...TOP, options: "extended_l2=on,cluster_size=64k" },
    ],
    sameLength: true,
    coarse: true,
  },
  {
    what: "compressed clusters, -q",
    args: ["-q"],
    layers: [BASE, { ...TOP, writes: [...COMPRESSED, ...TOP_WRITES] }],
  },
  { what: "a shorter raw, -p", layers: [{ ...RAW, size: 640 }, TOP], args: ["-p"], ledger: [6] },
  { what: "a shorter raw that ends in a sector", layers: [{ ...RAW, size: 605 }, TOP] },
  {
    what: "a shorter qcow2, -r and cache modes",
    layers: [{ ...BASE, size: 640 }, TOP],
    args: ["-r", "100M", "-t", "none", "-f", "qcow2"],
  },
  { what: "a longer raw", layers: [{ ...RAW, size: 2048, writes: ["write -P 7 0 2M"] }, TOP] },
  { what: "a longer qcow2", layers: [{ ...BASE, size: 2048, writes: ["write -P 7 0 2M"] }, TOP] },
  {
    what: "with snapshots",
    layers: [
      { ...BASE, snapshot: true },
      { ...TOP, snapshot: true },
    ],
    ledger: [10],
  },
  { what: "an empty overlay", layers: [BASE, { ...TOP, writes: [] }] },
  {
    what: "no bytes at all",
    layers: [
      { ...RAW, size: 0, writes: [] },
      { ...TOP, size: 0, writes: [] },
    ],
  },
  { what: "-d", layers: [BASE, TOP], args: ["-d"], sameLength: true },
  { what: "-b of the backing file", layers: [BASE, TOP], args: ["-b", "base"], sameLength: true },
  { what: "three layers", layers: [RAW, { ...BASE, writes: ["write -P 8 100k 500k"] }, TOP] },
  {
    what: "three layers, into the lowest",
    layers: [RAW, { ...BASE, writes: ["write -P 8 100k 500k", "write -z 600k 64k"] }, TOP],
    args: ["-b", "base"],
    sameLength: true,
  },
  {
    what: "three layers, the middle one shorter",
    layers: [
      { ...BASE, size: 1024, writes: ["write -P 9 0 1M"] },
      { ...BASE, size: 512, writes: [] },
      { ...TOP, writes: ["write -P 3 64k 100k"] },
    ],
    args: ["-b", "base"],
  },
  {
    what: "three layers, the middle one longer",
    layers: [{ ...RAW, size: 512, writes: [] }, { ...BASE, size: 2048, writes: ["write -P 8 0 2M"] }, TOP],
    args: ["-b", "base"],
  },
];

const REFUSALS: readonly { readonly words: readonly string[]; readonly ledger?: readonly number[] }[] = [
  { words: ["alone"] },
  { words: ["-f", "raw", "base"] },
  { words: ["-b", "nothing", "top"] },
  { words: ["-b", "top", "top"] },
  { words: ["-p", "alone"] },
  { words: ["-t", "sometimes", "top"] },
  { words: ["-f", "qcow2", "base"] },
  { words: ["-f", "bogus", "top"] },
  { words: ["missing"] },
  { words: ["-r", "fast", "top"] },
  { words: [] },
  { words: ["top", "base"] },
  { words: ["--bogus", "top"] },
];

await describeConformance(GROUP, {}, ({ reference: qemu }) => {
  it.each(CASES)("$what", async ({ layers, args = [], ledger, sameLength = false, coarse = false }) => {
    using bench = new Workbench("commit");
    const names = layers.length === 2 ? ["base", "top"] : ["base", "mid", "top"];
    const twins = await twinFolders(bench, (folder) => buildChain(qemu, layers, names, folder));
    const answer = await expectSameAnswerInTwins(qemu, twins, ["commit", ...args, "top"], ledger);
    expect(answer.exitCode).toBe(0);
    const formats = layers.map(({ options }, index) => [names[index], options === "raw" ? "raw" : "qcow2"]);
    await expectSameImages(qemu, twins, {
      images: Object.fromEntries(formats),
      sameLength: sameLength ? ["top"] : [],
      sameMaps: !coarse,
    });
    caseRan(GROUP, qemu.version);
  });

  it("an overlay with an external data file", async () => {
    using bench = new Workbench("commit");
    const twins = await twinFolders(bench, async (cwd) => {
      await buildChain(qemu, [BASE], ["base"], cwd);
      const options = ["-o", "data_file=data", "-b", "base", "-F", "qcow2", "top"];
      await qemu.img(["create", "-q", "-f", "qcow2", ...options], { cwd });
      await qemu.io("top", TOP_WRITES, { cwd });
    });
    await expectSameAnswerInTwins(qemu, twins, ["commit", "top"]);
    await expectSameImages(qemu, twins, { images: { base: "qcow2" } });
    // The data file's name is relative to the working directory.
    await qemu.img(["check", "-q", "top"], { cwd: twins.ours });
    await qemu.img(["compare", "-q", "base", "top"], { cwd: twins.ours });
    const maps = [twins.ours, twins.theirs].map((cwd) => qemu.img(["map", "top"], { cwd }));
    const [ours, theirs] = await Promise.all(maps);
    expect(ours?.stdout).toBe(theirs?.stdout);
    caseRan(GROUP, qemu.version);
  });

  it("bitmaps of the overlay stay as they are", async () => {
    using bench = new Workbench("commit");
    const twins = await twinFolders(bench, async (cwd) => {
      await buildChain(qemu, [BASE, TOP], ["base", "top"], cwd);
      await qemu.img(["bitmap", "--add", "top", "since-monday"], { cwd });
      await qemu.io("top", ["write -P 9 128k 64k"], { cwd });
    });
    await expectSameAnswerInTwins(qemu, twins, ["commit", "top"]);
    await expectSameImages(qemu, twins, { images: { base: "qcow2", top: "qcow2" } });
    caseRan(GROUP, qemu.version);
  });

  it("enabled bitmaps of the base tell of what was committed", async () => {
    using bench = new Workbench("commit");
    const twins = await twinFolders(bench, async (cwd) => {
      await buildChain(qemu, [BASE], ["base"], cwd);
      await qemu.img(["bitmap", "--add", "base", "since-monday"], { cwd });
      await qemu.img(["create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "top"], { cwd });
      await qemu.io("top", TOP_WRITES, { cwd });
    });
    await expectSameAnswerInTwins(qemu, twins, ["commit", "top"]);
    await expectSameImages(qemu, twins, { images: { base: "qcow2", top: "qcow2" } });
    const [ours, theirs] = [
      await dirtyRanges(`${twins.ours}/base`),
      await dirtyRanges(`${twins.theirs}/base`),
    ];
    expect(ours.length).toBeGreaterThan(0);
    expect(ours).toEqual(theirs);
    caseRan(GROUP, qemu.version);
  });

  it("refusals", async () => {
    using bench = new Workbench("commit");
    const cwd = bench.folder;
    await buildChain(qemu, [RAW, TOP], ["base", "top"], cwd);
    await qemu.img(["create", "-q", "-f", "qcow2", "alone", "1M"], { cwd });
    for (const { words, ledger = [] } of REFUSALS) {
      const args = ["commit", ...words];
      const answer = await expectSameAnswer({ args, folder: cwd, qemu, ledger, oneByOne: true });
      expect(answer.exitCode).toBe(1);
      caseRan(GROUP, qemu.version);
    }
  });

  it("other images on the same backing file are warned of, or spared (ledger 10)", async () => {
    using bench = new Workbench("commit");
    const cwd = bench.folder;
    await buildChain(qemu, [RAW, TOP], ["base", "top"], cwd);
    await qemu.img(["create", "-q", "-f", "qcow2", "-b", "base", "-F", "raw", "sibling"], { cwd });
    await qemu.img(["convert", "-O", "raw", "sibling", "before"], { cwd });

    const refused = await tryOurs(["commit", "top"], { cwd });
    expect(refused).toMatchObject({ exitCode: 1, stdout: "" });
    expect(refused.stderr).toMatch(/^qcow2: 'sibling' reads 'base' as well.*--force/);
    await qemu.img(["compare", "-q", "sibling", "before"], { cwd });

    const asQemuImg = await tryOursAsQemuImg(["commit", "-d", "top"], { cwd });
    expect(asQemuImg).toMatchObject({ exitCode: 0, stdout: "Image committed.\n" });
    expect(asQemuImg.stderr).toMatch(/^qemu-img: warning: 'sibling' reads 'base' as well/);

    const forced = await tryOurs(["commit", "--force", "top"], { cwd });
    expect(forced).toMatchObject({ exitCode: 0, stdout: "Image committed.\n", stderr: "" });
    caseRan(GROUP, qemu.version);
  });
});

async function dirtyRanges(path: string): Promise<string[]> {
  await using image = await openDisk({ path, format: "qcow2", readOnly: true });
  const { ranges } = await (image as Qcow2Image).dirtyRanges("since-monday");
  const found: string[] = [];
  for await (const { start, end } of ranges({ start: 0, end: image.size })) found.push(`${start}..${end}`);
  return found;
}
