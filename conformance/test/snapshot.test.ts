/** snapshot: after the same commands, our image and QEMU's have the same snapshots and disks, and both are clean. */
import { copyFileSync } from "node:fs";
import { expect, it } from "vitest";
import { caseRan } from "../src/case-log.ts";
import { runCase } from "../src/options/run-case.ts";
import { imagesFor } from "../src/options/test-cases.ts";
import { tryOursInProcess } from "../src/ours-in-process.ts";
import type { QemuRelease } from "../src/qemu-release.ts";
import { describeConformance } from "../src/requires.ts";
import { expectSameFiles } from "../src/same-files.ts";
import { Workbench } from "../src/workbench.ts";

const GROUP = "snapshot: same answers, snapshots and disks, clean";

const CREATION_OPTIONS = [
  "cluster_size=64k",
  "cluster_size=512,refcount_bits=8",
  "cluster_size=2M,refcount_bits=64",
  "cluster_size=4k,compat=0.10",
  "cluster_size=16k,extended_l2=on",
  "cluster_size=64k,preallocation=metadata",
  "cluster_size=64k,lazy_refcounts=on",
];

/** Each is given to both, with the image's name; in between, both images are written to. */
const COMMANDS: readonly (readonly string[])[] = [
  ["-c", "first"],
  ["-c", "second"],
  ["-a", "first"],
  ["-c", "third"],
  ["-d", "second"],
  ["-a", "3"],
  ["-d", "first"],
  ["-c", ""],
  ["-d", "third"],
];

const WRITES: readonly (readonly string[])[] = [
  ["write -P 1 0 300k", "write -P 2 512k 128k"],
  ["write -P 3 100k 700k", "write -z 0 64k", "discard 768k 64k"],
  ["write -P 4 33k 3k", "write -P 5 1000k 24k"],
];

await describeConformance(GROUP, {}, ({ reference: qemu }) => {
  it.each(CREATION_OPTIONS)("%s", async (options) => {
    using bench = new Workbench("snapshot");
    const cwd = bench.folder;
    await qemu.img(["create", "-q", "-f", "qcow2", "-o", options, "theirs", "1M"], { cwd });
    // Not everywhere: QEMU writes whole new clusters only, and narrow refcounts cannot count so many users of one.
    if (!["2M", "preallocation", "refcount_bits=8"].some((word) => options.includes(word))) {
      await qemu.io("theirs", ["write -c -P 6 320k 64k", "write -c -P 7 896k 128k"], { cwd });
    }
    await qemu.io("theirs", [...(WRITES[0] as string[])], { cwd });
    copyFileSync(bench.path("theirs"), bench.path("ours"));
    for (const [index, words] of COMMANDS.entries()) {
      const ours = await tryOursInProcess(["snapshot", ...words, "ours"], { cwd });
      expect({ words, ...ours }).toMatchObject({ words, exitCode: 0, stdout: "", stderr: "" });
      await qemu.img(["snapshot", ...words, "theirs"], { cwd });
      await expectEqualImages(qemu, bench);
      const writes = WRITES[index % WRITES.length] as string[];
      await qemu.io("ours", [...writes], { cwd });
      await qemu.io("theirs", [...writes], { cwd });
    }
    await expectEqualImages(qemu, bench);
    caseRan(GROUP, qemu.version);
  });

  const images = imagesFor(async (cwd) => {
    await qemu.img(["create", "-q", "-f", "qcow2", "empty", "1M"], { cwd });
    await qemu.img(["create", "-q", "-f", "qcow2", "-o", "data_file=data", "data-file", "1M"], { cwd });
    await qemu.img(["create", "-q", "-f", "qcow2", "bitmaps", "1M"], { cwd });
    await qemu.img(["snapshot", "-c", "one", "bitmaps"], { cwd });
    await qemu.img(["bitmap", "--add", "bitmaps", "b"], { cwd });
    await qemu.img(["create", "-q", "-f", "qcow2", "image", "1M"], { cwd });
    for (const name of ["one", "a name that is longer than the column", "3"]) {
      await qemu.img(["snapshot", "-c", name, "image"], { cwd });
    }
  });

  it.each([
    { words: ["-l", "image"] },
    { words: ["image"] },
    { words: ["-q", "-l", "image"] },
    { words: ["-U", "-l", "image"] },
    { words: ["-l", "empty"] },
    { words: ["-d", "missing", "image"] },
    { words: ["-a", "missing", "image"] },
    { words: ["-c", "more", "bitmaps"] },
    { words: ["-a", "one", "bitmaps"] },
    { words: ["-c", "one", "data-file"] },
    { words: ["-U", "-c", "one", "image"] },
    { words: ["-c", "one", "-d", "one", "image"] },
    { words: ["-c", "one"] },
    { words: ["-l", "nowhere"] },
  ])("$words", async ({ words }) => {
    await runCase({ words: ["snapshot", ...words] }, { qemu, images });
    caseRan(GROUP, qemu.version);
  });
});

async function expectEqualImages(qemu: QemuRelease, bench: Workbench): Promise<void> {
  const cwd = bench.folder;
  await qemu.img(["check", "-q", "ours"], { cwd });
  await qemu.img(["compare", "-q", "ours", "theirs"], { cwd });
  const [ours, theirs] = await Promise.all(["ours", "theirs"].map((name) => snapshotsOf(qemu, name, cwd)));
  expect(ours).toEqual(theirs);
  for (const { id } of ours ?? []) {
    for (const name of ["ours", "theirs"]) {
      await qemu.img(["convert", "-l", `snapshot.id=${id}`, "-O", "raw", name, `${name}.raw`], { cwd });
    }
    expectSameFiles(bench.path("ours.raw"), bench.path("theirs.raw"));
  }
}

interface Snapshot {
  readonly id: string;
  readonly "date-sec"?: number;
  readonly "date-nsec"?: number;
}

/** What `info` tells of the snapshots, without the time at which they were taken. */
async function snapshotsOf(qemu: QemuRelease, name: string, cwd: string): Promise<Snapshot[]> {
  const { stdout } = await qemu.img(["info", "--output=json", name], { cwd });
  const { snapshots = [] } = JSON.parse(stdout) as { snapshots?: Snapshot[] };
  return snapshots.map((snapshot) => ({ ...snapshot, "date-sec": 0, "date-nsec": 0 }));
}
