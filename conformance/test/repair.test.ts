/**
 * check -r: images damaged in every way that we could think of, and by seed. Ours finds what qemu-img finds; afterwards
 * qemu-img finds nothing, everything that could be read before can be read, and a second repair changes nothing.
 */
import { createHash } from "node:crypto";
import { copyFileSync, readFileSync } from "node:fs";
import { isQcow2Error } from "@qcow2/core";
import { openDisk } from "@qcow2/node";
import { expect, it } from "vitest";
import { caseRan } from "../src/case-log.ts";
import { hostOf, poke64, tablesOf } from "../src/damage.ts";
import { type DamageKind, damageKinds, makeRepairable, REPAIRABLE_SHAPES } from "../src/damage-kinds.ts";
import { drawDamage, metadataRegions, whileDamaged } from "../src/metadata-damage.ts";
import { tryOursInProcess } from "../src/ours-in-process.ts";
import type { QemuRelease } from "../src/qemu-release.ts";
import { describeConformance } from "../src/requires.ts";
import { IMAGE, SHAPES } from "../src/shapes.ts";
import { Workbench } from "../src/workbench.ts";

/** Of each disk that is compared. */
const MOST_BYTES = 32 * 2 ** 20;
const GROUP = "check -r: damaged images are repaired";
/** Giving back leaks is held against these, to save time; the engine's suites draw it for every shape. */
const SHAPES_FOR_LEAKS: ReadonlySet<string> = new Set(["version 3", "extended L2"]);
const SEED = Number(process.env.QCOW2_CONFORMANCE_SEED ?? 1);
const DAMAGES_PER_SHAPE = Number(process.env.QCOW2_CONFORMANCE_DAMAGE ?? 2);

await describeConformance(GROUP, {}, ({ reference: qemu }) => {
  for (const shape of REPAIRABLE_SHAPES) {
    it(`${shape.name}, in ${damageKinds(shape).length} ways`, { timeout: 300_000 }, async () => {
      using bench = new Workbench("repair");
      const cwd = bench.folder;
      await makeRepairable(shape, qemu, cwd);
      copyFileSync(bench.path("image"), bench.path("sound"));
      let found = 0;
      for (const kind of damageKinds(shape)) {
        copyFileSync(bench.path("sound"), bench.path("image"));
        kind.damage(bench.path("image"));
        if ((await expectSameVerdict(qemu, bench, kind.name)) !== 0) found++;
        if (SHAPES_FOR_LEAKS.has(shape.name)) {
          copyFileSync(bench.path("image"), bench.path("copy"));
          await expectNothingLost(bench.path("copy"), kind.name, "leaks");
        }
        if (kind.discards !== undefined) await expectLeft(bench.path("image"), kind.name);
        await expectRepaired(qemu, bench, kind.name, kind);
        caseRan(GROUP, qemu.version);
      }
      // All but what is no finding by itself, such as the dirty bit.
      expect(found).toBeGreaterThanOrEqual(damageKinds(shape).length - 2);
    });
  }

  for (const shape of SHAPES.filter(({ format }) => format === "qcow2")) {
    it(`${shape.name}: ${DAMAGES_PER_SHAPE} damages from seed ${SEED}`, { timeout: 0 }, async () => {
      using bench = new Workbench("repair");
      await shape.make({ folder: bench.folder, qemu });
      const regions = metadataRegions(bench.path(IMAGE));
      for (let index = 0; index < DAMAGES_PER_SHAPE; index++) {
        const edits = drawDamage(bench.path(IMAGE), regions, SEED * 2_000_003 + index);
        copyFileSync(bench.path(IMAGE), bench.path("sound"));
        await whileDamaged(bench.path(IMAGE), edits, async () => {
          copyFileSync(bench.path(IMAGE), bench.path("copy"));
          await expectNothingLost(bench.path("copy"), JSON.stringify(edits), "leaks");
          await expectRepaired(qemu, bench, JSON.stringify(edits), { image: IMAGE, mayRefuse: true });
        });
        copyFileSync(bench.path("sound"), bench.path(IMAGE));
        caseRan(GROUP, qemu.version);
      }
    });
  }

  // With refcounts of 1 bit, two uses of a cluster are not a number that is wrong.
  it.each([1, 2, 16])("a refcount block of %i bits that is something else", async (bits) => {
    using bench = new Workbench("repair-shared-block");
    const cwd = bench.folder;
    await qemu.img(["create", "-q", "-f", "qcow2", "-o", `refcount_bits=${bits}`, "sound", "4M"], { cwd });
    await qemu.io("sound", ["write -P 7 0 1M", "write -P 8 2M 128k"], { cwd });
    const { l1, l2, refcountTable } = tablesOf(bench.path("sound"));
    const data = hostOf(bench.path("sound"), l2);
    for (const place of [l1, l2, refcountTable, data]) {
      const what = `${bits} bits, a block at ${place}`;
      copyFileSync(bench.path("sound"), bench.path("image"));
      poke64(bench.path("image"), refcountTable, place);
      for (const repair of ["leaks", "all"] as const) {
        await expectNothingLost(bench.path("image"), what, repair);
      }
      await qemu.img(["check", "-q", "image"], { cwd });
      await qemu.img(["compare", "-q", "sound", "image"], { cwd });
      caseRan(GROUP, qemu.version);
    }
  });

  it("-r leaks gives back clusters, and touches nothing else", async () => {
    using bench = new Workbench("repair-leaks");
    // With bitmaps, qemu-img counts more: it stores them anew while it repairs.
    const shape = REPAIRABLE_SHAPES.find(({ hasBitmap }) => !hasBitmap);
    if (shape === undefined) throw new Error("no shape without bitmaps");
    await makeRepairable(shape, qemu, bench.folder);
    copyFileSync(bench.path("image"), bench.path("sound"));
    for (const name of [
      "leaked clusters",
      "a refcount that is too high",
      "COPIED missing",
      "a shared cluster with refcount 1",
    ]) {
      const kind = damageKinds(shape).find((candidate) => candidate.name === name);
      for (const copy of ["ours", "theirs"]) {
        copyFileSync(bench.path("sound"), bench.path(copy));
        kind?.damage(bench.path(copy));
      }
      const words = ["check", "-r", "leaks", "--output=json"];
      const expected = await qemu.tryImg([...words, "theirs"], { cwd: bench.folder });
      const actual = await tryOursInProcess([...words, "ours"], { cwd: bench.folder });
      const counts = (text: string): unknown => ({ ...(JSON.parse(text) as object), filename: "" });
      expect({ name, exitCode: actual.exitCode, counts: counts(actual.stdout) }).toEqual({
        name,
        exitCode: expected.exitCode,
        counts: counts(expected.stdout),
      });
    }
    caseRan(GROUP, qemu.version);
  });
});

/** The same exit code as qemu-img check; where that cannot open the image, a refusal or a finding. Returns it. */
async function expectSameVerdict(
  qemu: QemuRelease,
  { folder: cwd }: Workbench,
  what: string,
): Promise<number> {
  const expected = await qemu.tryImg(["check", "-q", "image"], { cwd });
  const actual = await tryOursInProcess(["check", "-q", `${cwd}/image`]);
  const verdict = expected.exitCode === 1 ? [1, 2] : [expected.exitCode];
  expect(verdict, `${what}: ours ${actual.exitCode}, qemu-img ${expected.exitCode}`).toContain(
    actual.exitCode,
  );
  return actual.exitCode;
}

/** What can be read before can be read afterwards, whether or not the repair can do anything. */
async function expectNothingLost(file: string, what: string, repair: "leaks" | "all"): Promise<void> {
  const before = await readableParts(file);
  await tryOursInProcess(["check", "-q", "-r", repair, file]);
  await expectStillReadable(file, `${what}, -r ${repair}`, before);
}

async function expectStillReadable(
  file: string,
  what: string,
  before: ReadonlyMap<string, string>,
): Promise<void> {
  const after = await readableParts(file);
  for (const [part, digest] of before)
    expect({ what, part, digest: after.get(part) }).toEqual({ what, part, digest });
}

/** What cannot be read is named, not given up: it says so, and what it may use keeps its refcounts. */
async function expectLeft(file: string, what: string): Promise<void> {
  const before = await readableParts(file);
  const left = await tryOursInProcess(["check", "-r", "all", file]);
  expect([1, 2], what).toContain(left.exitCode);
  expect(left.stderr, what).toContain("was left as it is");
  expect(left.stdout, what).not.toMatch(/[1-9][0-9]* leaked clusters\n {4}/);
  await expectStillReadable(file, what, before);
}

async function expectRepaired(
  qemu: QemuRelease,
  bench: Workbench,
  what: string,
  {
    image = "image",
    mayRefuse = false,
    discards,
  }: {
    readonly image?: string;
    readonly mayRefuse?: boolean;
    readonly discards?: DamageKind["discards"];
  } = {},
): Promise<void> {
  const file = bench.path(image);
  const before = await readableParts(file);
  const found = await tryOursInProcess(["check", "-q", file]);
  const words = ["check", "-q", "-r", "all", ...(discards === undefined ? [] : [discards]), file];
  const repaired = await tryOursInProcess(words);
  // A header that makes no sense is nothing that a repair could believe.
  if (mayRefuse && (repaired.exitCode === 1 || repaired.exitCode === 63)) return;
  // Snapshots and bitmaps that cannot be read are left, and said to be.
  if (mayRefuse && repaired.exitCode !== 0 && repaired.stderr.includes("was left as it is")) return;
  // Narrow refcounts cannot say how often a cluster is used, and only writing everything anew would help.
  const isTooNarrow = mayRefuse && repaired.stderr.includes("overflow cluster");
  // What lies over metadata and is no table or plain cluster stays; qemu-img does not look for it.
  const overlaps = mayRefuse && repaired.stderr.includes("is used as metadata and for something else");
  if (!isTooNarrow) {
    if (!overlaps) expect(repaired.exitCode, `${what}: ${repaired.stderr}`).toBe(0);
    const judged = await qemu.tryImg(["check", image], { cwd: bench.folder });
    expect(judged.exitCode, `${what}: qemu-img check: ${judged.stdout}${judged.stderr}`).toBe(0);
  }
  await expectStillReadable(file, what, before);
  const bytes = readFileSync(file);
  const again = await tryOursInProcess(words);
  expect(again.exitCode, what).toBe(repaired.exitCode);
  expect(
    bytes.equals(readFileSync(file)),
    `${what}: a second repair changed something (${found.exitCode})`,
  ).toBe(true);
}

/** What can be read of the disk and of its snapshots, in parts of 64 KiB, by what it is called. */
async function readableParts(file: string): Promise<Map<string, string>> {
  const parts = new Map<string, string>();
  for (const snapshot of [undefined, "1", "2"]) {
    try {
      await using disk = await openDisk({ path: file, format: "qcow2", readOnly: true, snapshot });
      for (let offset = 0; offset < Math.min(disk.size, MOST_BYTES); offset += 65536) {
        const into = new Uint8Array(Math.min(65536, disk.size - offset));
        try {
          await disk.read({ offset, into });
          const digest = createHash("sha1").update(into).digest("hex");
          parts.set(`${snapshot ?? "disk"} at ${offset}`, digest);
        } catch (error) {
          if (!isQcow2Error(error)) throw error;
        }
      }
    } catch (error) {
      if (!isQcow2Error(error)) throw error;
    }
  }
  return parts;
}
