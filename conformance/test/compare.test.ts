/** compare: the same verdict, text and exit code as qemu-img 10.0. */
import { join } from "node:path";
import { it } from "vitest";
import { caseRan } from "../src/case-log.ts";
import { runCase } from "../src/options/run-case.ts";
import { imagesFor } from "../src/options/test-cases.ts";
import { describeConformance } from "../src/requires.ts";
import { writeSparseRaw } from "../src/shapes.ts";

const GROUP = "compare: same verdict, text and exit code";

/** Arguments, and the ledger entries that explain a difference. */
const LEDGER_ENTRIES: Readonly<Record<string, readonly number[]>> = {
  "-s a.qcow2 zeroes.qcow2": [5],
  "-p a.qcow2 same.qcow2": [6],
};

const COMPARISONS: readonly string[][] = [
  ["a.qcow2", "same.qcow2"],
  ["-s", "a.qcow2", "same.qcow2"],
  ["a.qcow2", "differs.qcow2"],
  ["-q", "a.qcow2", "differs.qcow2"],
  ["a.qcow2", "longer.qcow2"],
  ["longer.qcow2", "a.qcow2"],
  ["-s", "a.qcow2", "longer.qcow2"],
  ["a.qcow2", "longer-data.qcow2"],
  ["longer-data.qcow2", "a.qcow2"],
  ["a.qcow2", "zeroes.qcow2"],
  ["-s", "a.qcow2", "zeroes.qcow2"],
  ["-f", "qcow2", "-F", "raw", "a.qcow2", "a.raw"],
  ["-s", "-f", "qcow2", "-F", "raw", "a.qcow2", "a.raw"],
  ["-f", "raw", "-F", "raw", "a.raw", "odd.raw"],
  ["-p", "a.qcow2", "same.qcow2"],
  ["a.qcow2", "missing.qcow2"],
  ["a.qcow2"],
  ["--image-opts", "driver=qcow2,file.filename=a.qcow2", "driver=qcow2,file.filename=same.qcow2"],
];

await describeConformance(GROUP, {}, ({ reference: qemu }) => {
  const images = imagesFor(async (cwd) => {
    const make = async (name: string, size: string, io: readonly string[], options = "cluster_size=64k") => {
      await qemu.img(["create", "-q", "-f", "qcow2", "-o", options, name, size], { cwd });
      await qemu.io(name, io, { cwd });
    };
    await Promise.all([
      make("a.qcow2", "1M", ["write -P 1 100k 200k"]),
      make(
        "same.qcow2",
        "1M",
        ["write -P 1 0 512k", "write -z 0 100k", "write -z 300k 212k"],
        "cluster_size=4k",
      ),
      make("differs.qcow2", "1M", ["write -P 1 100k 200k", "write -P 2 150001 1"]),
      make("longer.qcow2", "2M", ["write -P 1 100k 200k"]),
      make("longer-data.qcow2", "2M", ["write -P 1 100k 200k", "write -P 3 1500k 10"]),
      make("zeroes.qcow2", "1M", ["write -P 1 100k 200k", "write -P 0 600k 64k"]),
    ]);
    await qemu.img(["convert", "-O", "raw", "a.qcow2", "a.raw"], { cwd });
    writeSparseRaw(join(cwd, "odd.raw"), 1_000_001, [{ offset: 0, length: 1000 }]);
  });

  it.each(COMPARISONS.map((words) => [words.join(" "), words] as const))("%s", async (title, words) => {
    await runCase({ words: ["compare", ...words], ledger: LEDGER_ENTRIES[title] ?? [] }, { qemu, images });
    caseRan(GROUP, qemu.version);
  });
});
