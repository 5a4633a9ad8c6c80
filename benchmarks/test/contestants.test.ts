import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseBenchArguments } from "../src/bench-options.ts";
import { CASES } from "../src/cases/cases.ts";
import type { Job } from "../src/cases/jobs.ts";
import { isCommand } from "../src/contestants/contestant.ts";
import { findContestants } from "../src/contestants/find-contestants.ts";
import { findOurs, imageContestant } from "../src/contestants/image-commands.ts";
import { imageWords } from "../src/contestants/image-words.ts";
import { inputPaths } from "../src/inputs/all-inputs.ts";
import { REPOSITORY } from "../src/repository.ts";

const PLACES = { inputs: inputPaths("/inputs", { diskFile: undefined }), output: "/output" };
const LIBRARY = join(REPOSITORY, "benchmarks/dist/contestants/xen-orchestra-main.js");
const isBuilt = existsSync(LIBRARY) && existsSync(join(REPOSITORY, "apps/cli/dist/run.cjs"));

function jobOf(id: string): Job {
  return CASES.find((benchmark) => benchmark.id === id)!.job;
}

test("the words say what is measured: where the output must be, what is compressed", () => {
  const words = (id: string): string => imageWords(jobOf(id), PLACES).join(" ");
  expect(words("full-to-qcow2")).toBe("convert -t unsafe -f raw -O qcow2 /inputs/full/full.raw /output");
  expect(words("full-to-raw-durable")).toContain("convert -t writeback -f qcow2 -O raw");
  expect(words("raw-to-zstd")).toContain("-c -o compression_type=zstd");
  expect(words("preallocated-map")).toBe(
    "map --output=json -f qcow2 /inputs/preallocated/preallocated.qcow2",
  );
});

test("the best options are for compression, and for nothing else", () => {
  const tuned = imageContestant({
    name: "t",
    kind: "tuned",
    command: ["t"],
    compressOptions: ["-m", "8", "-W"],
  });
  expect(tuned.commandFor(jobOf("raw-to-deflate"), PLACES)?.toString()).toContain(
    "t,convert,-m,8,-W,-t,unsafe,-c",
  );
  expect(tuned.commandFor(jobOf("raw-to-qcow2"), PLACES)).toBeUndefined();
  expect(tuned.commandFor(jobOf("check"), PLACES)).toBeUndefined();
});

test("a checkout that is not built is refused", async () => {
  await expect(findOurs(process.execPath, tmpdir())).rejects.toThrow(RangeError);
});

describe("options", () => {
  test("a preset gives other sizes, and what is said counts more", () => {
    const quick = parseBenchArguments(["--quick", "--full", "64M"]);
    const usual = parseBenchArguments([]);
    if (quick === "help" || usual === "help") throw new Error("no help was wanted");
    expect(usual.recipe.sizes).toMatchObject({ full: 2 ** 32, sparse: 2 ** 40, preallocated: 100 * 2 ** 30 });
    expect(quick.recipe.sizes.full).toBe(64 * 2 ** 20);
    expect(quick.recipe.sizes.diskData).toBeLessThan(usual.recipe.sizes.diskData);
    expect(parseBenchArguments(["--help"])).toBe("help");
  });

  test.each([
    [["--update", "--quick"], "--update needs all cases"],
    [["--update", "--cases", "info"], "--update needs all cases"],
    [["--summary", "file"], "--summary needs --compare-with"],
    [["--runs", "0"], "no number from 1"],
    [["--full", "4097"], "multiple of 1M"],
    [["--nonsense"], "nonsense"],
  ])("%j: %s", (args, why) => {
    expect(() => parseBenchArguments(args)).toThrow(why);
  });

  test("without words for cases all are run, and the engine; else those", () => {
    expect(parseBenchArguments([])).toMatchObject({ cases: undefined, engineRounds: expect.any(Number) });
    expect(parseBenchArguments(["--cases", "info,map"])).toMatchObject({
      cases: ["info", "map"],
      engineRounds: undefined,
    });
    expect(parseBenchArguments(["--cases", "engine"])).toMatchObject({
      cases: [],
      engineRounds: expect.any(Number),
    });
  });
});

describe.skipIf(!isBuilt)(`contestants${isBuilt ? "" : " (left out: this workspace is not built)"}`, () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "qcow2-contestants-"));
  });
  afterAll(async () => {
    await rm(folder, { recursive: true });
  });

  test("ours is first, the base is beside it, and all have names of their own", async () => {
    const { all } = await findContestants({
      nodes: [process.execPath],
      qemu: undefined,
      compareWith: REPOSITORY,
    });
    expect(all.slice(0, 2).map(({ kind }) => kind)).toEqual(["ours", "base"]);
    expect(new Set(all.map(({ name }) => name)).size).toBe(all.length);
    expect(all.map(({ kind }) => kind)).toEqual(expect.arrayContaining(["library", "runtime"]));
  });

  test("the library has a part only in what it can do", async () => {
    const { all } = await findContestants({ nodes: [process.execPath], qemu: [], compareWith: undefined });
    const library = all.find(({ kind }) => kind === "library")!;
    const part = (id: string): unknown => {
      const command = library.commandFor(jobOf(id), PLACES);
      return isCommand(command) ? "takes part" : command?.leftOut;
    };
    expect(part("full-to-qcow2")).toBe("takes part");
    expect(part("full-to-raw")).toBe("takes part");
    expect(part("raw-to-deflate")).toContain("not compress");
    expect(part("deflate-to-raw")).toContain("not decompress");
    expect(part("overlays-to-raw")).toContain("backing");
    expect(part("empty-to-qcow2")).toContain("holes");
    expect(part("check")).toBeUndefined();
    expect(part("full-to-raw-durable")).toBeUndefined();
  });

  test("the library converts there and back", async () => {
    const raw = join(folder, "a.raw");
    const bytes = Buffer.alloc(300_000 - (300_000 % 512), "not a multiple of a cluster");
    await writeFile(raw, bytes);
    await execa(process.execPath, [LIBRARY, "to-qcow2", raw, join(folder, "a.qcow2")]);
    await execa(process.execPath, [LIBRARY, "to-raw", join(folder, "a.qcow2"), join(folder, "b.raw")]);
    const back = await readFile(join(folder, "b.raw"));
    // It rounds sizes up to whole clusters.
    expect(back.length).toBe(5 * 65536);
    expect(back.subarray(0, bytes.length).equals(bytes)).toBe(true);
    expect(back.subarray(bytes.length).every((byte) => byte === 0)).toBe(true);
  });
});
