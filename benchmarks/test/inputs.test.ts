import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CASES } from "../src/cases/cases.ts";
import { inputsOf } from "../src/cases/jobs.ts";
import { findOurs, findQemuImg, type ImageContestant } from "../src/contestants/image-commands.ts";
import { INPUTS, withWhatTheyNeed } from "../src/inputs/all-inputs.ts";
import type { InputName, Recipe } from "../src/inputs/input-kind.ts";
import { largestUse, scheduleInputs } from "../src/inputs/input-schedule.ts";
import { allocated, InputStore, warm } from "../src/inputs/input-store.ts";
import { OVERLAYS } from "../src/inputs/overlay-chain.ts";
import { REPOSITORY } from "../src/repository.ts";

const MIB = 2 ** 20;
const SIZES = { disk: 24 * MIB, diskData: 8 * MIB, full: 4 * MIB, sparse: 2 ** 40, preallocated: 2 ** 30 };
const RECIPE: Recipe = { seed: 9, sizes: SIZES, diskFile: undefined };
const built = existsSync(join(REPOSITORY, "apps/cli/dist/run.cjs"));

describe("the schedule", () => {
  test("an input is there when a case reads it, together with all that it is made of, and is removed once", () => {
    const reads = CASES.map(({ job }) => inputsOf(job));
    const present = new Set<InputName>();
    const made: InputName[] = [];
    for (const [index, { make, remove }] of scheduleInputs(reads).entries()) {
      for (const name of make) {
        for (const needed of withWhatTheyNeed([name])) expect([...present, name]).toContain(needed);
        present.add(name);
        made.push(name);
      }
      for (const name of reads[index]!) expect(present).toContain(name);
      for (const name of remove) expect(present.delete(name)).toBe(true);
    }
    expect(present).toEqual(new Set());
    expect(made.toSorted()).toEqual(Object.keys(INPUTS).toSorted());
  });

  test("with the default sizes everything fits in 25 GiB", () => {
    const GIB = 2 ** 30;
    const sizes = {
      disk: 4 * GIB,
      diskData: GIB,
      full: 4 * GIB,
      sparse: 1024 * GIB,
      preallocated: 100 * GIB,
    };
    const schedule = scheduleInputs(CASES.map(({ job }) => inputsOf(job)));
    expect(
      largestUse(
        schedule,
        CASES.map(() => 4 * GIB),
        sizes,
      ),
    ).toBeLessThan(25 * GIB);
  });

  test("the largest use is that of the moment when most is there", () => {
    const schedule = scheduleInputs([["disk"], ["full"], ["full-qcow2"]]);
    expect(schedule.map(({ remove }) => remove)).toEqual([["disk"], [], ["full", "full-qcow2"]]);
    expect(largestUse(schedule, [0, 1, 2], SIZES)).toBe(2 * SIZES.full + 2);
  });
});

describe.skipIf(!built)(`inputs${built ? "" : " (left out: the command is not built)"}`, () => {
  let folder: string;
  let tool: ImageContestant;
  let store: InputStore;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "qcow2-inputs-"));
    tool = (await findQemuImg())[0] ?? (await findOurs(process.execPath));
    store = new InputStore({ folder, recipe: RECIPE, tool });
    for (const name of withWhatTheyNeed(Object.values(INPUTS).map((kind) => kind.name)))
      await store.make(name);
  });
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  async function ask(...args: readonly string[]): Promise<string> {
    const [program, ...fixed] = tool.command;
    return (await execa(program, [...fixed, ...args], { stdin: "ignore" })).stdout;
  }

  test.each(Object.values(INPUTS))(
    "$name: has the content that it says, takes no more space, and is whole",
    async (kind) => {
      const path = store.paths[kind.name];
      if (kind.content !== undefined) {
        await ask("compare", "-f", "raw", "-F", kind.format, store.paths[kind.content], path);
      }
      if (kind.format === "qcow2") await ask("check", "-f", "qcow2", path);
      const files = await readdir(dirname(path));
      const bytes = await Promise.all(files.map((name) => allocated(join(dirname(path), name))));
      // Tables and headers come on top of what an input holds.
      expect(bytes.reduce((sum, each) => sum + each, 0)).toBeLessThan(kind.bytes(SIZES) + 4 * MIB);
      await warm(path);
    },
  );

  test("the same seed gives the same bytes", async () => {
    const other = await mkdtemp(join(tmpdir(), "qcow2-inputs-"));
    try {
      const again = new InputStore({ folder: other, recipe: RECIPE, tool });
      for (const name of ["disk", "fragmented", "overlays", "full"] as const) {
        await again.make(name);
        expect((await readFile(again.paths[name])).equals(await readFile(store.paths[name]))).toBe(true);
      }
    } finally {
      await rm(other, { recursive: true });
    }
  });

  test("hardly two neighbours of the fragmented image lie together", async () => {
    const extents = JSON.parse(
      await ask("map", "--output=json", "-f", "qcow2", store.paths.fragmented),
    ) as readonly { readonly data: boolean; readonly length: number }[];
    const data = extents.filter((extent) => extent.data);
    const bytes = data.reduce((sum, { length }) => sum + length, 0);
    expect(bytes / data.length).toBeLessThan(1.2 * 65536);
  });

  test("every layer of the chain is read from", async () => {
    const extents = JSON.parse(
      await ask("map", "--output=json", "-f", "qcow2", store.paths.overlays),
    ) as readonly { readonly data: boolean; readonly depth: number }[];
    const depths = new Set(extents.filter(({ data }) => data).map(({ depth }) => depth));
    expect([...depths].sort((a, b) => a - b)).toEqual(
      Array.from({ length: OVERLAYS + 1 }, (_, depth) => depth),
    );
  });

  test("the preallocated image has its clusters, but hardly takes space", async () => {
    const { size } = await stat(store.paths.preallocated);
    expect(size).toBeGreaterThan(SIZES.preallocated);
    expect(await ask("info", "-f", "qcow2", store.paths.preallocated)).toContain(`(${SIZES.sparse} bytes)`);
  });

  test("a disk of the user's is neither made nor removed", async () => {
    const mine = await mkdtemp(join(tmpdir(), "qcow2-inputs-"));
    try {
      const diskFile = join(mine, "mine.raw");
      await writeFile(diskFile, "mine");
      await mkdir(join(mine, "work"));
      const own = new InputStore({ folder: join(mine, "work"), recipe: { ...RECIPE, diskFile }, tool });
      await own.make("disk");
      await own.remove("disk");
      expect(await readFile(diskFile, "utf8")).toBe("mine");
      expect(await readdir(join(mine, "work"))).toEqual([]);
    } finally {
      await rm(mine, { recursive: true });
    }
  });
});
