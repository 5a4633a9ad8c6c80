/** create, with each option and several together: both sides see what was asked, and every QEMU finds the image clean. */
import { readdirSync } from "node:fs";
import { expect, it } from "vitest";
import { caseRan } from "../src/case-log.ts";
import { tryOursInProcess } from "../src/ours-in-process.ts";
import type { QemuRelease } from "../src/qemu-release.ts";
import { describeConformance } from "../src/requires.ts";
import { expectEqualAnswers, expectSameAnswer } from "../src/same-answer.ts";
import { writeSparseRaw } from "../src/shapes.ts";
import { Workbench } from "../src/workbench.ts";

const GROUP = "create: same words, same info, clean";

interface CreateCase {
  /** Everything between `create -f qcow2` and the name. */
  readonly args: readonly string[];
  readonly size?: string;
  /** Ledger entries that explain the difference. */
  readonly ledger?: readonly number[];
}

const option = (options: string, size = "10M"): CreateCase => ({ args: ["-o", options], size });

const CASES: readonly CreateCase[] = [
  { args: [], size: "10M" },
  { args: [], size: "0" },
  { args: [], size: "1" },
  { args: [], size: "1000" },
  { args: [], size: "1048577" },
  { args: [], size: "1.5G" },
  { args: [], size: "1T" },
  { args: [], size: "64T" },
  { args: ["-q"], size: "10M" },
  option("compat=0.10"),
  option("compat=1.1"),
  option("compat=v2"),
  option("compat=v3"),
  ...["512", "1k", "2k", "4k", "8k", "16k", "32k", "64k", "128k", "256k", "512k", "1M", "2M"].map((size) =>
    option(`cluster_size=${size}`),
  ),
  ...[1, 2, 4, 8, 16, 32, 64].map((bits) => option(`refcount_bits=${bits}`)),
  option("lazy_refcounts=on"),
  option("lazy_refcounts=off"),
  option("extended_l2=on"),
  option("extended_l2=on,cluster_size=16k"),
  option("extended_l2=on,cluster_size=2M"),
  option("compression_type=zlib"),
  option("compression_type=zstd"),
  ...["off", "metadata", "falloc", "full"].map((mode) => option(`preallocation=${mode}`, "3M")),
  ...["metadata", "falloc", "full"].map((mode) => option(`preallocation=${mode},cluster_size=512`, "1M")),
  option("preallocation=metadata,extended_l2=on", "3M"),
  option("preallocation=metadata,refcount_bits=64,cluster_size=512", "5000k"),
  option("preallocation=metadata", "20G"),
  option("data_file=data"),
  option("data_file=data,data_file_raw=on"),
  option("data_file=data,data_file_raw=off,cluster_size=2M"),
  option("data_file=data,preallocation=metadata"),
  option("data_file=data,preallocation=full"),
  option("data_file=data,data_file_raw=on,preallocation=falloc,extended_l2=on", "3000k"),
  option("backing_file=base.raw,backing_fmt=raw"),
  option("backing_file=base.qcow2,backing_fmt=qcow2,cluster_size=4k"),
  { args: ["-b", "base.raw", "-F", "raw"] },
  { args: ["-b", "base.qcow2", "-F", "qcow2"] },
  { args: ["-b", "base.qcow2", "-F", "qcow2", "-o", "extended_l2=on,preallocation=metadata"] },
  { args: ["-u", "-b", "missing", "-F", "raw"], size: "5M" },
  { args: ["-o", "compat=0.10,cluster_size=4k,backing_file=base.qcow2,backing_fmt=qcow2"], size: "7M" },
  option(
    "compat=1.1,cluster_size=128k,refcount_bits=32,lazy_refcounts=on,compression_type=zstd,extended_l2=on",
  ),
  option(
    "cluster_size=4k,refcount_bits=8,lazy_refcounts=on,preallocation=metadata,compression_type=zstd",
    "2000k",
  ),
  { args: ["-o", "cluster_size=4k", "-o", "refcount_bits=8"], size: "10M" },
];

const REFUSED: readonly CreateCase[] = [
  { args: [] },
  option("cluster_size=1000"),
  option("cluster_size=256"),
  option("cluster_size=4M"),
  option("refcount_bits=3"),
  option("refcount_bits=-16"),
  option("refcount_bits=128"),
  option("compat=0.10,refcount_bits=8"),
  option("compat=0.10,lazy_refcounts=on"),
  option("compat=0.10,extended_l2=on"),
  option("compat=0.10,compression_type=zstd"),
  option("compat=0.10,data_file=data"),
  option("compat=2.0"),
  option("extended_l2=on,cluster_size=8k"),
  option("compression_type=lzma"),
  option("preallocation=some"),
  option("data_file_raw=on"),
  option("no_such_option=1"),
  { args: ["-b", "base.raw", "-F", "raw", "-o", "preallocation=metadata"] },
  { args: ["-b", "base.raw", "-F", "raw", "-o", "data_file=data,data_file_raw=on"] },
  { args: ["-b", "missing", "-F", "raw"], size: "1M" },
  { args: ["-b", "base.raw"] },
  { args: [], size: "-1" },
  { args: [], size: "many" },
  { args: [], size: "9E" },
];

await describeConformance(GROUP, {}, ({ reference: qemu, all }) => {
  const prepare = async (folder: string): Promise<void> => {
    writeSparseRaw(`${folder}/base.raw`, 3_000_001, [{ offset: 1_000_000, length: 100_000 }]);
    await qemu.img(["create", "-q", "-f", "qcow2", "base.qcow2", "2M"], { cwd: folder });
    await qemu.io("base.qcow2", ["write -P 1 100k 300k"], { cwd: folder });
  };
  const words = ({ args, size }: CreateCase): readonly string[] => [
    "create",
    "-f",
    "qcow2",
    ...args,
    "image",
    ...(size === undefined ? [] : [size]),
  ];
  const title = (drawn: CreateCase): string => words(drawn).slice(3).join(" ");

  it.each(CASES.map((drawn) => [title(drawn), drawn] as const))("%s", async (_, drawn) => {
    using ourBench = new Workbench("create");
    using theirBench = new Workbench("create");
    await Promise.all([prepare(ourBench.folder), prepare(theirBench.folder)]);
    const [actual, expected] = await Promise.all([
      tryOursInProcess(words(drawn), { cwd: ourBench.folder }),
      qemu.tryImg(words(drawn), { cwd: theirBench.folder }),
    ]);
    expectEqualAnswers({ actual, expected, what: words(drawn).join(" ") });
    expect(expected.exitCode).toBe(0);

    // What each side says of the other's image; the space that a file takes on its host is the file system's business.
    const info = async (folder: string): Promise<unknown> => {
      const { stdout } = await expectSameAnswer({ args: ["info", "--output=json", "image"], folder, qemu });
      return withoutAllocation(JSON.parse(stdout));
    };
    // Where the backing file is missing, only info opens the image.
    const opens = !title(drawn).includes("missing");
    const judges = opens ? all.filter((release) => knows(release, title(drawn))) : [];
    const sameAnswers = opens ? ["map", "check"] : [];
    const [ourInfo, theirInfo] = await Promise.all([
      info(ourBench.folder),
      info(theirBench.folder),
      ...judges.map((release) => release.img(["check", "-f", "qcow2", "image"], { cwd: ourBench.folder })),
      ...sameAnswers.map((command) =>
        expectSameAnswer({ args: [command, "--output=json", "image"], folder: ourBench.folder, qemu }),
      ),
    ]);
    expect(ourInfo).toEqual(theirInfo);
    for (const release of opens ? judges : [qemu]) caseRan(GROUP, release.version);
  });

  it.each(REFUSED.map((drawn) => [title(drawn), drawn] as const))("refuses %s", async (_, drawn) => {
    using bench = new Workbench("create");
    await prepare(bench.folder);
    const before = readdirSync(bench.folder).sort();
    const actual = await tryOursInProcess(words(drawn), { cwd: bench.folder });
    expect(readdirSync(bench.folder).sort(), "nothing was written").toEqual(before);
    const expected = await qemu.tryImg(words(drawn), { cwd: bench.folder });
    expectEqualAnswers({ actual, expected, what: words(drawn).join(" "), ledger: drawn.ledger ?? [] });
    expect(expected.exitCode).toBe(1);
    caseRan("create: refused like QEMU", qemu.version);
  });
});

function knows(release: QemuRelease, words: string): boolean {
  if (/extended_l2=on/.test(words) && !release.atLeast("5.2")) return false;
  return !/zstd/.test(words) || release.hasZstd;
}

function withoutAllocation(info: unknown): unknown {
  return JSON.parse(
    JSON.stringify(info, (key, value: unknown) =>
      key === "actual-size" || key === "children" ? undefined : value,
    ),
  );
}
