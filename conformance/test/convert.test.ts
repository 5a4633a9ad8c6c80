/** convert: what we write is clean and identical for every QEMU release, and looks as what QEMU would have written. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { expect, it } from "vitest";
import { caseRan } from "../src/case-log.ts";
import { ours } from "../src/ours.ts";
import { tryOursInProcess } from "../src/ours-in-process.ts";
import type { QemuRelease } from "../src/qemu-release.ts";
import { canCompressZstd } from "../src/requirement.ts";
import { describeConformance } from "../src/requires.ts";
import { expectEqualAnswers, expectSameAnswer } from "../src/same-answer.ts";
import { expectSameFiles } from "../src/same-files.ts";
import { everyKindOfCluster, writeSparseRaw } from "../src/shapes.ts";
import { Workbench } from "../src/workbench.ts";

const GROUP = "convert: clean, and identical to the source";
const KIB = 1024;
const MIB = 1024 * KIB;

/** Makes the sources, the same in every bench. */
async function makeSources(folder: string, qemu: QemuRelease): Promise<void> {
  const inFolder = { cwd: folder };
  writeSparseRaw(`${folder}/odd.raw`, 3 * MIB + 77, [
    { offset: 8192, length: 300 * KIB },
    { offset: MIB + 100, length: 5000 },
    { offset: 3 * MIB, length: 77 },
  ]);
  await qemu.img(["create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "mixed.qcow2", "1000k"], inFolder);
  await qemu.io("mixed.qcow2", everyKindOfCluster(4 * KIB), inFolder);
  await qemu.img(["snapshot", "-c", "before", "mixed.qcow2"], inFolder);
  await qemu.io("mixed.qcow2", ["write -P 77 0 200k"], inFolder);
  const backing = ["-b", "odd.raw", "-F", "raw"];
  await qemu.img(["create", "-q", "-f", "qcow2", ...backing, "overlay.qcow2", "5M"], inFolder);
  await qemu.io(
    "overlay.qcow2",
    ["write -P 1 64k 100k", "write -z 200k 64k", "write -P 2 4M 1000"],
    inFolder,
  );
}

/** Each is everything between `convert` and the target. */
const CONVERSIONS: readonly string[][] = [
  ["-O", "qcow2", "odd.raw"],
  ["-f", "raw", "-O", "qcow2", "odd.raw"],
  ["-O", "qcow2", "mixed.qcow2"],
  ["-O", "qcow2", "overlay.qcow2"],
  ["-O", "raw", "overlay.qcow2"],
  ["-O", "raw", "odd.raw"],
  ["-c", "-O", "qcow2", "odd.raw"],
  ["-c", "-O", "qcow2", "overlay.qcow2"],
  ["-c", "-O", "qcow2", "-o", "cluster_size=512", "mixed.qcow2"],
  ["-c", "-O", "qcow2", "-o", "cluster_size=2M", "overlay.qcow2"],
  ["-c", "-O", "qcow2", "-o", "extended_l2=on,cluster_size=16k", "overlay.qcow2"],
  ["-c", "-O", "qcow2", "-o", "compression_type=zstd", "odd.raw"],
  ["-c", "-O", "qcow2", "-o", "compat=0.10,cluster_size=4k", "odd.raw"],
  ["-c", "-O", "qcow2", "-o", "refcount_bits=1", "odd.raw"],
  ["-c", "-m", "16", "-O", "qcow2", "odd.raw"],
  ["-c", "-m", "1", "-O", "qcow2", "odd.raw"],
  ...["0", "4k", "64k", "1M", "512"].map((size) => ["-S", size, "-O", "qcow2", "odd.raw"]),
  ...["0", "4k", "64k"].map((size) => ["-S", size, "-O", "raw", "overlay.qcow2"]),
  ["-W", "-m", "4", "-O", "qcow2", "odd.raw"],
  ["-C", "-O", "qcow2", "odd.raw"],
  ["-C", "-O", "raw", "mixed.qcow2"],
  ["-C", "-O", "qcow2", "overlay.qcow2"],
  ["-C", "-O", "qcow2", "-o", "cluster_size=4k", "mixed.qcow2"],
  ["-C", "-O", "qcow2", "-o", "extended_l2=on", "overlay.qcow2"],
  ["-C", "-W", "-O", "qcow2", "mixed.qcow2"],
  ["-r", "100M", "-O", "qcow2", "odd.raw"],
  ["--salvage", "-O", "qcow2", "mixed.qcow2"],
  ["-l", "before", "-O", "qcow2", "mixed.qcow2"],
  ["-l", "snapshot.name=before", "-O", "raw", "mixed.qcow2"],
  ["-l", "snapshot.id=1", "-O", "qcow2", "-c", "mixed.qcow2"],
  ["-t", "none", "-T", "none", "-O", "qcow2", "mixed.qcow2"],
  ["-t", "writethrough", "-O", "qcow2", "odd.raw"],
  ["--image-opts", "-O", "qcow2", "driver=qcow2,file.filename=mixed.qcow2"],
  ["-O", "qcow2", "-B", "odd.raw", "-F", "raw", "overlay.qcow2"],
  ["-c", "-O", "qcow2", "-B", "odd.raw", "-F", "raw", "overlay.qcow2"],
  ["-O", "qcow2", "-o", "backing_file=odd.raw,backing_fmt=raw,cluster_size=4k", "overlay.qcow2"],
  ["-O", "qcow2", "odd.raw", "mixed.qcow2"],
  ["-O", "raw", "odd.raw", "mixed.qcow2", "odd.raw"],
  ["-O", "qcow2", "-o", "data_file=out.data", "overlay.qcow2"],
  ["-O", "qcow2", "-o", "data_file=out.data,data_file_raw=on", "overlay.qcow2"],
  ...[
    "compat=0.10",
    "cluster_size=512",
    "cluster_size=4k",
    "cluster_size=2M",
    "refcount_bits=1",
    "refcount_bits=64",
    "lazy_refcounts=on",
    "extended_l2=on",
    "extended_l2=on,cluster_size=16k",
    "preallocation=metadata",
    "preallocation=falloc",
    "preallocation=full,cluster_size=4k",
    "cluster_size=8k,refcount_bits=8,lazy_refcounts=on,extended_l2=off,preallocation=metadata",
  ].map((options) => ["-O", "qcow2", "-o", options, "overlay.qcow2"]),
];

/** Ledger 7 and 8: the content is the same, where it is stored is not. */
const MAP_DIFFERS: ReadonlySet<string> = new Set([
  "-c -O qcow2 -B odd.raw -F raw overlay.qcow2",
  "-O qcow2 -o preallocation=metadata overlay.qcow2",
  "-O qcow2 -o cluster_size=8k,refcount_bits=8,lazy_refcounts=on,extended_l2=off,preallocation=metadata overlay.qcow2",
]);

const zstd = await canCompressZstd();

await describeConformance(GROUP, {}, ({ reference: qemu, all }) => {
  it.each(CONVERSIONS.map((words) => [words.join(" "), words] as const))("%s", async (title, words) => {
    using ourBench = new Workbench("convert");
    using theirBench = new Workbench("convert");
    await Promise.all([makeSources(ourBench.folder, qemu), makeSources(theirBench.folder, qemu)]);
    const args = ["convert", ...words, "out"];
    if (title.includes("zstd") && !zstd) {
      const refused = await tryOursInProcess(args, { cwd: ourBench.folder });
      expect(refused).toMatchObject({ exitCode: 1, stdout: "", stderr: expect.stringMatching(/22\.15/) });
      expect(existsSync(ourBench.path("out"))).toBe(false);
      return;
    }
    const [actual, expected] = await Promise.all([
      tryOursInProcess(args, { cwd: ourBench.folder }),
      qemu.tryImg(args, { cwd: theirBench.folder }),
    ]);
    expectEqualAnswers({ actual, expected, what: title });
    expect(expected.exitCode).toBe(0);
    // No temporary file is left behind.
    expect(readdirSync(ourBench.folder).sort()).toEqual(readdirSync(theirBench.folder).sort());

    const format = words[words.indexOf("-O") + 1]!;
    if (format === "raw") {
      expectSameFiles(ourBench.path("out"), theirBench.path("out"));
      expect(statSync(ourBench.path("out")).blocks).toBeLessThanOrEqual(
        statSync(theirBench.path("out")).blocks + 16,
      );
      caseRan(GROUP, qemu.version);
      return;
    }
    // QEMU's own copy is the judge of what the source held.
    await qemu.img(["convert", "-O", "raw", "out", "expected.raw"], { cwd: theirBench.folder });
    const expectedRaw = theirBench.path("expected.raw");
    for (const release of all) {
      if (/extended_l2=on/.test(title) && !release.atLeast("5.2")) continue;
      if (/zstd/.test(title) && !release.hasZstd) continue;
      await release.img(["check", "-f", "qcow2", "out"], { cwd: ourBench.folder });
      await release.img(["compare", "-f", "qcow2", "-F", "raw", "out", expectedRaw], {
        cwd: ourBench.folder,
      });
      caseRan(GROUP, release.version);
    }
    await Promise.all(
      ["info", "check"].map((command) =>
        expectSameAnswer({ args: [command, "--output=json", "out"], folder: ourBench.folder, qemu }),
      ),
    );
    const [oursLooks, theirsLooks] = await Promise.all([
      looksLike(qemu, ourBench.folder),
      looksLike(qemu, theirBench.folder),
    ]);
    if (!MAP_DIFFERS.has(title)) expect(oursLooks).toEqual(theirsLooks);
    else {
      expect(oursLooks.map, "the ledger's entry does not occur any more").not.toEqual(theirsLooks.map);
      expect({ ...oursLooks, map: [] }).toEqual({ ...theirsLooks, map: [] });
    }
  });
});

/** What qemu-img says of `out`, without what depends on the order in which clusters were written. */
async function looksLike(
  qemu: QemuRelease,
  folder: string,
): Promise<{ readonly format: unknown; readonly size: unknown; readonly map: readonly unknown[] }> {
  const inFolder = { cwd: folder };
  const info = JSON.parse((await qemu.img(["info", "--output=json", "out"], inFolder)).stdout);
  const map = JSON.parse((await qemu.img(["map", "--output=json", "out"], inFolder)).stdout) as MapEntry[];
  return { format: info["format-specific"], size: info["virtual-size"], map: joined(map) };
}

interface MapEntry {
  readonly start: number;
  readonly length: number;
  readonly offset?: number;
}

/** Joins adjacent entries that differ only in where they are stored. */
function joined(entries: readonly MapEntry[]): unknown[] {
  const result: { start: number; length: number; kind: string }[] = [];
  for (const { start, length, offset: _, ...attributes } of entries) {
    const kind = JSON.stringify(attributes);
    const last = result.at(-1);
    if (last?.kind === kind) last.length += length;
    else result.push({ start, length, kind });
  }
  return result;
}

await describeConformance("convert into an image that is there (-n)", {}, ({ reference: qemu, all }) => {
  it.each([
    ["qcow2", "cluster_size=4k"],
    ["qcow2", "extended_l2=on"],
    ["qcow2", "preallocation=metadata"],
    ["qcow2", "data_file=out.data,data_file_raw=on"],
  ])("into %s with %s, over old content", async (format, options) => {
    using bench = new Workbench("convert");
    const inFolder = { cwd: bench.folder };
    await makeSources(bench.folder, qemu);
    await qemu.img(["create", "-q", "-f", format, "-o", options, "out", "5M"], inFolder);
    await qemu.io("out", ["write -P 200 0 3M", "write -P 201 4M 1M"], inFolder);
    await ours(["convert", "-n", "-O", format, "overlay.qcow2", "out"], inFolder);
    for (const release of all) {
      await release.img(["check", "-f", format, "out"], inFolder);
      await release.img(["compare", "overlay.qcow2", "out"], inFolder);
      caseRan(GROUP, release.version);
    }
  });

  it("into a raw file, over old content", async () => {
    using bench = new Workbench("convert");
    await makeSources(bench.folder, qemu);
    writeSparseRaw(bench.path("out"), 5 * MIB, [{ offset: 0, length: 5 * MIB }]);
    await ours(["convert", "-n", "-O", "raw", "overlay.qcow2", "out"], { cwd: bench.folder });
    await qemu.img(["compare", "-F", "raw", "overlay.qcow2", "out"], { cwd: bench.folder });
    caseRan(GROUP, qemu.version);
  });
});
