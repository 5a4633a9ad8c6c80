/** Peak memory on a 1 TiB sparse image: bounded by options, not by the image's size. */
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, it } from "vitest";
import { caseRan } from "../src/case-log.ts";
import { poke } from "../src/damage.ts";
import { ours } from "../src/ours.ts";
import { REPOSITORY } from "../src/repository.ts";
import { describeConformance } from "../src/requires.ts";
import { Workbench } from "../src/workbench.ts";

const GROUP = "memory: 1 TiB sparse disk under 256 MiB";
const LIMIT_MIB = 256;
/** Compression has a worker thread for each processor, and each is a JavaScript engine of its own. */
const EXTRA_WORKERS_MIB: number = Math.max(0, availableParallelism() - 2) * 32;
const TIB = 2 ** 40;
/** Places with data: each has an L2 table of its own, 128 MiB of them together, which is more than may be kept. */
const PLACES = 2048;

const placeAt = (index: number): number => index * (TIB / PLACES) + 12345;

/** Runs our command and answers the peak of its resident memory in MiB. */
async function peakMemory(args: readonly string[], folder: string): Promise<number> {
  const file = join(folder, "memory");
  writeFileSync(file, "");
  const preload = pathToFileURL(join(REPOSITORY, "conformance/src/report-memory.mjs")).href;
  await ours(args, {
    cwd: folder,
    timeoutMs: 600_000,
    env: { NODE_OPTIONS: `--import=${preload}`, QCOW2_CONFORMANCE_MEMORY: file },
  });
  return Math.max(...readFileSync(file, "utf8").trim().split("\n").map(Number)) / 1024;
}

await describeConformance(GROUP, { platform: "linux" }, ({ reference: qemu }) => {
  it("check, map and convert a qcow2", { timeout: 900_000 }, async () => {
    using bench = new Workbench("memory");
    const { folder } = bench;
    await qemu.img(["create", "-q", "-f", "qcow2", "huge.qcow2", String(TIB)], { cwd: folder });
    const writes = Array.from(
      { length: PLACES },
      (_, index) => `write -P ${(index % 255) + 1} ${placeAt(index)} 512`,
    );
    await qemu.io("huge.qcow2", writes, { cwd: folder });

    const convert = ["convert", "-f", "qcow2", "huge.qcow2", "-O"];
    expect(await peakMemory(["check", "huge.qcow2"], folder)).toBeLessThan(LIMIT_MIB);
    expect(await peakMemory(["map", "--output=json", "huge.qcow2"], folder)).toBeLessThan(LIMIT_MIB);
    expect(await peakMemory([...convert, "qcow2", "copy.qcow2"], folder)).toBeLessThan(LIMIT_MIB);
    expect(await peakMemory([...convert, "qcow2", "-c", "small.qcow2"], folder)).toBeLessThan(
      LIMIT_MIB + EXTRA_WORKERS_MIB,
    );
    expect(await peakMemory([...convert, "raw", "copy.raw"], folder)).toBeLessThan(LIMIT_MIB);
    for (const copy of ["copy.qcow2", "small.qcow2"]) await qemu.img(["check", copy], { cwd: folder });
    for (const copy of ["copy.qcow2", "small.qcow2", "copy.raw"]) {
      await qemu.img(["compare", "huge.qcow2", copy], { cwd: folder });
    }
    caseRan(GROUP, qemu.version, 5);
  });

  it("convert a raw file", { timeout: 900_000 }, async () => {
    using bench = new Workbench("memory");
    const { folder } = bench;
    writeFileSync(bench.path("huge.raw"), "");
    truncateSync(bench.path("huge.raw"), TIB);
    for (let index = 0; index < PLACES; index++) {
      poke(bench.path("huge.raw"), placeAt(index), Buffer.alloc(512, (index % 255) + 1));
    }
    const args = ["convert", "-f", "raw", "-O", "qcow2", "huge.raw", "copy.qcow2"];
    expect(await peakMemory(args, folder)).toBeLessThan(LIMIT_MIB);
    await qemu.img(["check", "copy.qcow2"], { cwd: folder });
    await qemu.img(["compare", "-f", "raw", "huge.raw", "copy.qcow2"], { cwd: folder });
    caseRan(GROUP, qemu.version);
  });
});
