/** amend: the same answers as qemu-img, and images that are the same and clean afterwards. */
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { caseRan } from "../src/case-log.ts";
import { runCase } from "../src/options/run-case.ts";
import { imagesFor } from "../src/options/test-cases.ts";
import { tryOursInProcess } from "../src/ours-in-process.ts";
import type { QemuRelease } from "../src/qemu-release.ts";
import { describeConformance } from "../src/requires.ts";
import { expectSameFiles } from "../src/same-files.ts";
import { expectTwins } from "../src/twins/expect-twins.ts";
import { Workbench } from "../src/workbench.ts";

const GROUP = "amend: same answers, options and content, clean";

const IMAGES: readonly { readonly name: string; readonly create: readonly string[] }[] = [
  { name: "64 KiB clusters", create: ["image", "2M"] },
  { name: "512-byte clusters", create: ["-o", "cluster_size=512", "image", "2M"] },
  { name: "64-bit refcounts", create: ["-o", "cluster_size=4k,refcount_bits=64", "image", "2M"] },
  // qemu-img takes seconds for each width of refcounts where clusters are large.
  { name: "version 2", create: ["-o", "compat=0.10,cluster_size=4k", "image", "2M"] },
  { name: "backing file", create: ["-o", "cluster_size=4k", "-b", "base", "-F", "qcow2", "image", "2M"] },
  {
    name: "version 2, backing file",
    create: ["-o", "compat=0.10,cluster_size=4k", "-b", "base", "-F", "qcow2", "image", "2M"],
  },
];

/** One after the other. */
const CHANGES = [
  "compat=1.1",
  "lazy_refcounts=on",
  "refcount_bits=64",
  "refcount_bits=8",
  "compat=0.10,refcount_bits=16",
  "compat=1.1,refcount_bits=2,lazy_refcounts=off",
  "compat=v2,refcount_bits=16",
  "compat=1.1,size=3M",
  // The snapshots' disks have another size now, which version 2 cannot say.
  "compat=0.10",
];

await describeConformance(GROUP, {}, ({ reference: qemu }) => {
  it.each(IMAGES)("$name", async ({ create }) => {
    using theirs = new Workbench("amend-theirs");
    using ours = new Workbench("amend-ours");
    const writes = [
      "write -P 1 0 200k",
      "write -P 2 700k 300k",
      "write -z 128k 64k",
      "write -z -u 256k 128k",
    ];
    const isVersion2 = create.some((word) => word.includes("compat=0.10"));
    await qemu.img(["create", "-q", "-f", "qcow2", "base", "2M"], { cwd: theirs.folder });
    await qemu.io("base", ["write -P 9 0 2M"], { cwd: theirs.folder });
    await qemu.img(["create", "-q", "-f", "qcow2", ...create], { cwd: theirs.folder });
    await qemu.io("image", isVersion2 ? writes.slice(0, 2) : writes, { cwd: theirs.folder });
    await qemu.img(["snapshot", "-c", "one", "image"], { cwd: theirs.folder });
    await qemu.img(["snapshot", "-c", "two", "image"], { cwd: theirs.folder });
    await qemu.io("image", ["write -P 3 100k 100k"], { cwd: theirs.folder });
    for (const name of ["base", "image"]) copyFileSync(theirs.path(name), ours.path(name));
    for (const change of CHANGES) {
      const expected = await qemu.tryImg(["amend", "-o", change, "image"], { cwd: theirs.folder });
      const actual = await tryOursInProcess(["amend", "-o", change, "image"], { cwd: ours.folder });
      expect({ change, exitCode: actual.exitCode, stdout: actual.stdout }).toEqual({
        change,
        exitCode: expected.exitCode,
        stdout: expected.stdout,
      });
      if (expected.exitCode === 0) expect(actual.stderr).toBe("");
      await expectTwins(qemu, { theirs, ours, image: "image" });
    }
    for (const snapshot of ["one", "two"]) {
      for (const { folder: cwd } of [theirs, ours]) {
        await qemu.img(["convert", "-l", snapshot, "-O", "raw", "image", snapshot], { cwd });
      }
      expectSameFiles(theirs.path(snapshot), ours.path(snapshot));
    }
    caseRan(GROUP, qemu.version);
  });

  const images = imagesFor((folder) => makeImages(folder, qemu));

  it.each([
    { words: ["-o", "compat=1.0", "image"] },
    { words: ["-o", "compat=0.10,lazy_refcounts=on", "image"] },
    { words: ["-o", "compat=0.10,refcount_bits=1", "image"] },
    { words: ["-o", "refcount_bits=3", "image"] },
    { words: ["-o", "cluster_size=4k", "image"] },
    { words: ["-o", "nosuch=1", "image"] },
    { words: ["-o", "data_file=x", "image"] },
    { words: ["-o", "data_file_raw=on", "image"] },
    { words: ["-o", "backing_file=base", "image"] },
    { words: ["-o", "backing_fmt=raw", "overlay"] },
    { words: ["-o", "backing_file=base,backing_fmt=qcow2", "overlay"] },
    { words: ["-o", "size=1000", "image"] },
    { words: ["-o", "size=2M", "image"] },
    { words: ["-o", "compat=0.10", "extended"] },
    { words: ["-o", "compat=0.10", "narrow"] },
    { words: ["-o", "compat=0.10", "data-file"] },
    { words: ["-o", "compat=0.10", "zstd"] },
    { words: ["-o", "compat=0.10", "zstd-compressed"] },
    { words: ["-o", "compat=0.10", "resized"] },
    { words: ["-o", "refcount_bits=1", "shared"] },
    { words: ["-o", "data_file=other", "data-file"] },
    { words: ["-o", "data_file_raw=off", "raw-data-file"] },
    { words: ["-p", "-o", "compat=0.10", "image"], ledger: [6] },
    { words: ["-q", "-p", "-o", "compat=0.10", "image"] },
    { words: ["-t", "nothing", "-o", "compat=0.10", "image"] },
    { words: ["-t", "none", "-o", "compat=0.10", "image"] },
    { words: ["image"] },
    { words: ["-o", "compat=1.1"] },
    { words: ["-o", "", "image"] },
    { words: ["-o", "compat=1.1", "missing"] },
    { words: ["-f", "raw", "-o", "size=2M", "image"] },
    { words: ["--image-opts", "-o", "compat=1.1", "driver=qcow2,file.filename=image"] },
  ])("$words", async ({ words, ledger = [] }) => {
    await runCase({ words: ["amend", ...words], ledger }, { qemu, images });
    caseRan(GROUP, qemu.version);
  });
});

/** What the refusals and successes above are about, each named for what is special about it. */
async function makeImages(cwd: string, qemu: QemuRelease): Promise<void> {
  const create = (...args: string[]): Promise<unknown> =>
    qemu.img(["create", "-q", "-f", "qcow2", ...args], { cwd });
  const withSnapshot = async (name: string): Promise<void> => {
    await create(name, "1M");
    await qemu.io(name, ["write -P 1 0 64k"], { cwd });
    await qemu.img(["snapshot", "-c", "one", name], { cwd });
  };
  await create("base", "1M");
  await Promise.all([
    create("image", "1M"),
    create("-b", "base", "-F", "qcow2", "overlay"),
    create("-o", "extended_l2=on", "extended", "1M"),
    create("-o", "refcount_bits=8", "narrow", "1M"),
    create("-o", "data_file=data", "data-file", "1M"),
    create("-o", "data_file=raw,data_file_raw=on", "raw-data-file", "1M"),
    create("-o", "compression_type=zstd", "zstd", "1M"),
    create("-o", "compression_type=zstd", "zstd-compressed", "1M"),
    withSnapshot("shared"),
    withSnapshot("resized"),
  ]);
  copyFileSync(join(cwd, "data"), join(cwd, "other"));
  await qemu.io("zstd-compressed", ["write -c -P 1 0 64k"], { cwd });
  await qemu.img(["resize", "-q", "resized", "2M"], { cwd });
}
