import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type BenchmarkCase, CASES } from "../src/cases/cases.ts";
import type { Contestant, ContestantKind } from "../src/contestants/contestant.ts";
import {
  findOurs,
  findQemuImg,
  type ImageContestant,
  imageContestant,
} from "../src/contestants/image-commands.ts";
import { inputPaths } from "../src/inputs/all-inputs.ts";
import type { InputPaths } from "../src/inputs/input-kind.ts";
import { InputStore } from "../src/inputs/input-store.ts";
import { findMeter } from "../src/measure/measure-process.ts";
import { REPOSITORY } from "../src/repository.ts";
import { runCase } from "../src/run/run-case.ts";
import { WrongResult } from "../src/run/verify.ts";

const MIB = 2 ** 20;
const SMALL_SIZES = {
  disk: 16 * MIB,
  diskData: 6 * MIB,
  full: MIB,
  sparse: 64 * MIB,
  preallocated: 8 * MIB,
};
const built = existsSync(join(REPOSITORY, "apps/cli/dist/run.cjs"));

function caseOf(id: string): BenchmarkCase {
  return CASES.find((benchmark) => benchmark.id === id)!;
}

describe.skipIf(!built)(`a case${built ? "" : " (left out: the command is not built)"}`, () => {
  let folder: string;
  let ours: ImageContestant;
  let judge: ImageContestant;
  let inputs: InputPaths;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "qcow2-benchmarks-"));
    ours = await findOurs(process.execPath);
    judge = (await findQemuImg())[0] ?? ours;
    const recipe = { seed: 5, sizes: SMALL_SIZES, diskFile: undefined };
    const store = new InputStore({ folder, recipe, tool: judge });
    for (const name of ["disk", "disk-qcow2"] as const) await store.make(name);
    inputs = inputPaths(folder, recipe);
  });
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  async function run(benchmark: BenchmarkCase, contestants: readonly Contestant[], runs = 1) {
    const order: string[] = [];
    const result = await runCase({
      benchmark,
      contestants,
      judge,
      inputs,
      meter: await findMeter(),
      runs,
      folder,
      onRun: ({ contestant }) => order.push(contestant.name),
    });
    return { result, order };
  }

  /** Ours, but `change` alters the words in `args` before ours gets them. */
  async function cheat(change: string, kind: ContestantKind = "ours"): Promise<Contestant> {
    const path = join(folder, "cheat.cjs");
    await writeFile(
      path,
      `const { spawnSync } = require("node:child_process");
      let [bin, ...args] = process.argv.slice(2);
      ${change}
      process.exitCode = spawnSync(process.execPath, [bin, ...args], { stdio: "inherit" }).status;`,
    );
    const [node, bin] = ours.command;
    return imageContestant({ name: "cheat", kind, command: [node, path, bin!] });
  }

  test("runs the tools in turn, each as often, each time another first, and leaves no output behind", async () => {
    const before = await readdir(folder);
    const { result, order } = await run(caseOf("raw-to-qcow2"), [ours, { ...ours, name: "again" }], 2);
    expect(order).toEqual([ours.name, "again", "again", ours.name]);
    expect(result.tools.map(({ seconds }) => seconds.length)).toEqual([2, 2]);
    expect(result.tools[0]?.outputBytes).toBeGreaterThan(5 * MIB);
    expect(await readdir(folder)).toEqual(before);
  });

  test.each([
    [
      "raw-to-qcow2",
      "an empty image",
      `args = ["create", "-q", "-f", "qcow2", args.at(-1), "16M"];`,
      "not what was read",
    ],
    [
      "raw-to-deflate",
      "an image without compression",
      `args = args.filter((word) => word !== "-c");`,
      "not compressed",
    ],
    [
      "qcow2-to-raw",
      "the qcow2 as it is",
      `require("node:fs").copyFileSync(args.at(-2), args.at(-1)); args = ["--version"];`,
      "not what was read",
    ],
    ["compare", "no answer", `args = ["--version"];`, "answered"],
    [
      "map",
      "another file's map",
      `args = ["map", "--output=json", "-f", "raw", args.at(-1)];`,
      "answers otherwise",
    ],
    ["info", "nothing but failure", `args = ["info", "/nonexistent"];`, "ended with 1"],
  ])("%s: %s is no result", async (id, _, change, why) => {
    const cheating = await cheat(change);
    const error = await run(caseOf(id), [cheating]).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(WrongResult);
    expect(String(error)).toContain(why);
  });

  test("what is wrong with the base does not end the benchmark: the base is left out, with the reason", async () => {
    const base = await cheat(`args = ["--version"];`, "base");
    const { result, order } = await run(caseOf("compare"), [base, ours], 2);
    expect(order).toEqual([ours.name, ours.name]);
    expect(result.tools.map(({ name }) => name)).toEqual([ours.name]);
    expect(result.leftOut).toEqual([expect.stringContaining("cheat")]);
  });

  test("a tool that cannot write zstd is left out, with the reason", async () => {
    const { command } = ours;
    const old = imageContestant({ name: "old", kind: "ours", command, noZstd: "too old" });
    const { result } = await run(caseOf("raw-to-zstd"), [old]);
    expect(result.tools).toEqual([]);
    expect(result.leftOut).toEqual(["old: too old"]);
  });
});
