/** The properties: what must hold for every drawn case. Each throws if it does not. */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { Codecs } from "@qcow2/core";
import { type NodeCodecs, nodeCodecs, openDisk } from "@qcow2/node";
import { chainArbitrary, type DiskModel, type DrawnChain, expectSameContent, layersOf } from "@qcow2/testing";
import type fc from "fast-check";
import { ourCheckCounts, qemuCheckCounts } from "../qemu-check.ts";
import { type QemuMapEntry, qemuMapOf } from "../qemu-map.ts";
import type { QemuRelease } from "../qemu-release.ts";
import type { Judges } from "../requirement.ts";
import { expectReadsAs } from "../same-files.ts";
import { Workbench } from "../workbench.ts";
import { buildWithOurs } from "./build-with-ours.ts";
import { buildWithQemu } from "./build-with-qemu.ts";
import { topName } from "./layer-files.ts";
import { management } from "./management/management-property.ts";
import { writeModelTo } from "./raw-file.ts";

export interface Property<Drawn = unknown> {
  readonly name: string;
  /** The group under which its cases are counted. */
  readonly group: string;
  arbitrary(): fc.Arbitrary<Drawn>;
  check(drawn: Drawn, judges: Judges): Promise<void>;
  /** The releases that one case runs against. */
  versions(judges: Judges): readonly QemuRelease[];
}

let sharedCodecs: NodeCodecs | undefined;
export function codecs(): Codecs {
  sharedCodecs ??= nodeCodecs({ threads: 1 });
  return sharedCodecs;
}

/** Stops the compression threads, so that the process can end. */
export async function closeCodecs(): Promise<void> {
  await sharedCodecs?.close();
  sharedCodecs = undefined;
}

/** Our library writes a chain; every QEMU finds it clean and reads what was written, and so do we. */
export const oursWrites: Property<DrawnChain> = {
  name: "ours-writes",
  group: "property: our library writes, QEMU checks and compares",
  arbitrary: () =>
    chainArbitrary({ compressionTypes: codecs().zstd?.compress === undefined ? ["zlib"] : ["zlib", "zstd"] }),
  versions: ({ all }) => all.filter(knowsAllFeatures),
  async check(drawn, judges) {
    using bench = new Workbench("ours");
    const model = await buildWithOurs(drawn, bench.folder, codecs());
    const image = topName(drawn);
    await writeModelTo(bench.path("expected"), model);
    const usesZstd = layersOf(drawn).some(
      (layer) => layer.format === "qcow2" && layer.options.compressionType === "zstd",
    );
    const able = oursWrites.versions(judges).filter(({ hasZstd }) => hasZstd || !usesZstd);
    await Promise.all(able.map((qemu) => expectCleanAndEqual(qemu, bench.folder, image)));
    await expectOursReads(join(bench.folder, image), model);
    await expectSameMap(judges.reference, bench.folder, image);
    await expectSameCheck(judges.reference, bench.folder, image);
  },
};

/** QEMU writes a chain; we read, map and check it as QEMU does, its snapshots too. */
export const qemuWrites: Property<DrawnChain> = {
  name: "qemu-writes",
  group: "property: QEMU writes, our library reads, maps and checks",
  arbitrary: () =>
    chainArbitrary({
      operations: [
        "write",
        "write",
        "write",
        "write-compressed",
        "write-compressed",
        "write-zeroes",
        "unmap",
        "discard",
        "snapshot",
      ],
    }),
  versions: ({ reference }) => [reference],
  async check(drawn, { reference }) {
    using bench = new Workbench("qemu");
    const { snapshots } = await buildWithQemu(drawn, bench.folder, reference);
    const image = topName(drawn);
    await expectSameRead(reference, bench.folder, image, undefined);
    for (const snapshot of snapshots) await expectSameRead(reference, bench.folder, image, snapshot);
    await expectSameMap(reference, bench.folder, image);
    await expectSameCheck(reference, bench.folder, image);
  },
};

export const PROPERTIES: readonly Property[] = [oursWrites, qemuWrites, management];

/** Extended L2 entries came with 5.2, the last of the features that are drawn. */
function knowsAllFeatures(qemu: QemuRelease): boolean {
  return qemu.atLeast("5.2");
}

async function expectCleanAndEqual(qemu: QemuRelease, folder: string, image: string): Promise<void> {
  const inFolder = { cwd: folder };
  const [check, compare] = await Promise.all([
    qemu.tryImg(["check", "-f", "qcow2", image], inFolder),
    qemu.tryImg(["compare", "-f", "raw", "-F", "qcow2", "expected", image], inFolder),
  ]);
  assert.equal(check.exitCode, 0, `qemu-img ${qemu.version} check: ${check.stdout}${check.stderr}`);
  assert.equal(compare.exitCode, 0, `qemu-img ${qemu.version} compare: ${compare.stdout}${compare.stderr}`);
}

async function expectOursReads(path: string, model: DiskModel): Promise<void> {
  await using disk = await openDisk({ path, format: "qcow2", readOnly: true, codecs: codecs() });
  await expectSameContent(disk, model);
}

async function expectSameRead(
  qemu: QemuRelease,
  folder: string,
  image: string,
  snapshot: string | undefined,
): Promise<void> {
  const expected = "expected";
  const fromSnapshot = snapshot === undefined ? [] : ["-l", `snapshot.name=${snapshot}`];
  await qemu.img(["convert", "-f", "qcow2", "-O", "raw", ...fromSnapshot, image, expected], { cwd: folder });
  await using disk = await openDisk({
    path: join(folder, image),
    format: "qcow2",
    readOnly: true,
    codecs: codecs(),
    ...(snapshot === undefined ? {} : { snapshot }),
  });
  await expectReadsAs(disk, join(folder, expected));
}

async function expectSameMap(qemu: QemuRelease, folder: string, image: string): Promise<void> {
  const { stdout } = await qemu.img(["map", "-f", "qcow2", "--output=json", image], { cwd: folder });
  await using disk = await openDisk({
    path: join(folder, image),
    format: "qcow2",
    readOnly: true,
    codecs: codecs(),
  });
  // For an empty disk QEMU prints one entry of length 0; extents have none.
  const theirs = (JSON.parse(stdout) as QemuMapEntry[]).filter(({ length }) => length > 0);
  assert.deepEqual(await qemuMapOf(disk), theirs, "map differs from QEMU's");
}

async function expectSameCheck(qemu: QemuRelease, folder: string, image: string): Promise<void> {
  const answer = await qemu.tryImg(["check", "-f", "qcow2", "--output=json", image], { cwd: folder });
  await using disk = await openDisk({
    path: join(folder, image),
    format: "qcow2",
    readOnly: true,
    metadataOnly: true,
    codecs: codecs(),
  });
  if (!("check" in disk)) throw new Error("not a qcow2 image");
  const result = await (disk as import("@qcow2/core").Qcow2Image).check();
  assert.deepEqual(ourCheckCounts(result), qemuCheckCounts(answer.stdout), "check differs from QEMU's");
}
