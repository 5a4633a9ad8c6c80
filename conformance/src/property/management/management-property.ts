/**
 * The same management commands run by qemu-img and by ours on twin images end alike, and leave images that QEMU finds
 * clean and equal: content, `info`, `map`, snapshots.
 */
import assert from "node:assert/strict";
import { copyFileSync, existsSync, renameSync } from "node:fs";
import { tryOursInProcess } from "../../ours-in-process.ts";
import type { QemuRelease } from "../../qemu-release.ts";
import type { Judges } from "../../requirement.ts";
import { expectSameFiles } from "../../same-files.ts";
import { expectSameBits } from "../../twins/dirty-ranges.ts";
import { expectTwins } from "../../twins/expect-twins.ts";
import { Workbench } from "../../workbench.ts";
import type { Property } from "../properties.ts";
import { type ManagementCase, type ManagementStep, managementCaseArbitrary } from "./management-case.ts";

export const management: Property<ManagementCase> = {
  name: "management",
  group: "property: sequences of management commands, ours and QEMU's on twins",
  arbitrary: managementCaseArbitrary,
  versions: ({ reference }) => [reference],
  async check(drawn, { reference }: Judges) {
    using theirs = new Workbench("theirs");
    using ours = new Workbench("ours");
    const twins = { theirs, ours, image: "image" };
    await build(drawn, reference, twins);
    for (const step of drawn.steps) await run(step, drawn, reference, twins);
    // Where data moved between layers, more than one layout is right.
    const comparesMaps = !drawn.steps.some(({ kind }) => kind === "commit" || kind === "rebase");
    await expectTwins(reference, { ...twins, comparesMaps });
    if (drawn.backingUnits > 0) await expectTwins(reference, { ...twins, image: "base", comparesMaps });
    await expectSameBits(reference, theirs, ours);
    for (const { id } of await snapshotsOf(theirs)) {
      for (const { folder: cwd } of [theirs, ours]) {
        const selector = `snapshot.id=${id}`;
        await reference.img(["convert", "-l", selector, "-O", "raw", "image", "snapshot"], { cwd });
      }
      expectSameFiles(theirs.path("snapshot"), ours.path("snapshot"));
    }
  },
};

interface Twins {
  readonly theirs: Workbench;
  readonly ours: Workbench;
}

async function build(drawn: ManagementCase, qemu: QemuRelease, { theirs, ours }: Twins): Promise<void> {
  const { options, unit, units, backingUnits } = drawn;
  const cwd = theirs.folder;
  const create = ["create", "-q", "-f", "qcow2"];
  if (backingUnits > 0) {
    await qemu.img([...create, "base", String(backingUnits * unit)], { cwd });
    await qemu.io("base", [`write -P 99 0 ${backingUnits * unit}`], { cwd });
    await qemu.img([...create, "other", String(Math.ceil(units / 2) * unit)], { cwd });
    await qemu.io("other", [`write -P 98 0 ${unit}`], { cwd });
    for (const name of ["base", "other"]) copyFileSync(theirs.path(name), ours.path(name));
  }
  const backing = backingUnits > 0 ? ["-b", "base", "-F", "qcow2"] : [];
  await qemu.img([...create, "-o", options, ...backing, "image", String(units * unit)], { cwd });
  copyFileSync(theirs.path("image"), ours.path("image"));
}

async function run(
  step: ManagementStep,
  { unit, clusterSize }: ManagementCase,
  qemu: QemuRelease,
  twins: Twins,
): Promise<void> {
  const { theirs, ours } = twins;
  switch (step.kind) {
    case "write":
    case "zero":
    case "discard": {
      const size = await sizeOf(theirs);
      const offset = step.at * unit;
      const length = Math.min(step.units * unit, size - offset);
      if (length <= 0) return;
      const what = { write: `write -P ${step.fill}`, zero: "write -z", discard: "discard" }[step.kind];
      await Promise.all(
        [theirs, ours].map(({ folder: cwd }) => qemu.io("image", [`${what} ${offset} ${length}`], { cwd })),
      );
      return;
    }
    case "snapshot-create": {
      const taken = await snapshotsOf(theirs);
      await runBoth(["snapshot", "-c", `name ${Number(taken.at(-1)?.id ?? 0) + 1}`], qemu, twins);
      return;
    }
    case "snapshot-apply":
    case "snapshot-delete": {
      const taken = await snapshotsOf(theirs);
      const chosen = taken[step.which % taken.length];
      if (chosen === undefined) return;
      await runBoth(["snapshot", step.kind === "snapshot-apply" ? "-a" : "-d", chosen.name], qemu, twins);
      return;
    }
    case "resize": {
      const grows = step.units * unit > (await sizeOf(theirs));
      const how = grows ? `--preallocation=${step.preallocation}` : "--shrink";
      await runBoth(["resize", how, "IMAGE", String(step.units * unit)], qemu, twins);
      return;
    }
    case "amend":
      // qemu-img takes minutes for it where a refcount block counts many clusters.
      if (step.option.startsWith("refcount_bits") && clusterSize > 4096) return;
      await runBoth(["amend", "-o", step.option], qemu, twins);
      return;
    case "bitmap":
      await runBoth(["bitmap", ...step.words, "IMAGE", step.name], qemu, twins);
      return;
    case "commit":
      if (!(await hasBacking(theirs))) return;
      await runBoth(["commit", ...(step.keepsTop ? ["-d"] : [])], qemu, twins);
      return;
    case "rebase":
      if (!(await hasBacking(theirs))) return;
      await runBoth(["rebase", "-b", step.onto, ...(step.onto === "" ? [] : ["-F", "qcow2"])], qemu, twins);
      return;
    case "convert": {
      const { options, compressed } = step;
      const words = ["convert", "-O", "qcow2", "-o", options, ...(compressed ? ["-c"] : [])];
      await runBoth([...words, "IMAGE", "COPY"], qemu, twins);
      for (const bench of [theirs, ours]) {
        if (existsSync(bench.path("copy"))) renameSync(bench.path("copy"), bench.path("image"));
      }
    }
  }
}

/** Gives the command to both; they must end with the same code and print the same. IMAGE is its file; else it comes last. */
async function runBoth(words: readonly string[], qemu: QemuRelease, { theirs, ours }: Twins): Promise<void> {
  const wordsFor = (bench: Workbench): string[] => {
    const placed = words.map((word) =>
      word === "IMAGE" ? bench.path("image") : word === "COPY" ? bench.path("copy") : word,
    );
    return words.includes("IMAGE") ? placed : [...placed, bench.path("image")];
  };
  const [expected, actual] = await Promise.all([
    qemu.tryImg(wordsFor(theirs)),
    tryOursInProcess(wordsFor(ours)),
  ]);
  assert.deepEqual(
    { words, exitCode: actual.exitCode, stdout: actual.stdout },
    { words, exitCode: expected.exitCode, stdout: expected.stdout },
    `${words.join(" ")}: ours said '${actual.stderr}', qemu-img '${expected.stderr}'`,
  );
}

interface ImageFacts {
  readonly "backing-filename"?: string;
  readonly "virtual-size": number;
  readonly snapshots?: readonly { readonly id: string; readonly name: string }[];
}

/**
 * What the next command can be. By our own command, which costs no process: it decides what is asked of both, and nothing
 * that is held against anything.
 */
async function factsOf(bench: Workbench): Promise<ImageFacts> {
  const { stdout } = await tryOursInProcess(["info", "--output=json", bench.path("image")]);
  return JSON.parse(stdout) as ImageFacts;
}

async function sizeOf(bench: Workbench): Promise<number> {
  return (await factsOf(bench))["virtual-size"];
}

async function hasBacking(bench: Workbench): Promise<boolean> {
  return (await factsOf(bench))["backing-filename"] !== undefined;
}

async function snapshotsOf(
  bench: Workbench,
): Promise<readonly { readonly id: string; readonly name: string }[]> {
  return (await factsOf(bench)).snapshots ?? [];
}
