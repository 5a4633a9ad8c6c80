/** resize: after the same command, our image and QEMU's have the same size and content, and both are clean. */
import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { caseRan } from "../src/case-log.ts";
import { runCase } from "../src/options/run-case.ts";
import { imagesFor } from "../src/options/test-cases.ts";
import { tryOursInProcess } from "../src/ours-in-process.ts";
import { describeConformance } from "../src/requires.ts";
import { expectSameFiles } from "../src/same-files.ts";
import { expectTwins } from "../src/twins/expect-twins.ts";
import { Workbench } from "../src/workbench.ts";

const GROUP = "resize: same answers, sizes and content, clean";

/** Images of 1 MiB, or as their options say. */
const IMAGES: readonly { readonly name: string; readonly create: readonly string[] }[] = [
  { name: "64 KiB clusters", create: ["image", "1M"] },
  { name: "512-byte clusters", create: ["-o", "cluster_size=512,refcount_bits=1", "image", "1M"] },
  { name: "2 MiB clusters", create: ["-o", "cluster_size=2M,refcount_bits=64", "image", "5M"] },
  { name: "version 2", create: ["-o", "compat=0.10", "image", "1M"] },
  { name: "extended L2", create: ["-o", "extended_l2=on", "image", "1M"] },
  { name: "preallocated", create: ["-o", "preallocation=metadata", "image", "1M"] },
  { name: "over a longer backing file", create: ["-b", "base", "-F", "qcow2", "image", "1M"] },
  { name: "over a longer backing file, unaligned", create: ["-b", "base", "-F", "qcow2", "image", "1000k"] },
  { name: "over a shorter backing file", create: ["-b", "base", "-F", "qcow2", "image", "5M"] },
  { name: "external data file", create: ["-o", "data_file=data", "image", "1M"] },
  {
    name: "extended L2 over a longer backing file",
    create: ["-o", "extended_l2=on", "-b", "base", "-F", "qcow2", "image", "1000k"],
  },
  { name: "raw external data file", create: ["-o", "data_file=data,data_file_raw=on", "image", "1M"] },
];

/** Every image is changed in the first three ways, and in one of the others. */
const CHANGES: readonly (readonly string[])[] = [
  ["image", "+1M"],
  ["--preallocation=metadata", "image", "+700k"],
  ["--shrink", "image", "-512k"],
];
const MORE_CHANGES: readonly (readonly string[])[] = [
  ["--preallocation=falloc", "image", "+64k"],
  ["--preallocation=full", "image", "+1M"],
  ["image", "64M"],
  ["--shrink", "image", "512k"],
];

await describeConformance(GROUP, {}, ({ reference: qemu }) => {
  it.each(IMAGES.map((image, index) => ({ ...image, index })))("$name", async ({ create, index }) => {
    using theirs = new Workbench("resize-theirs");
    using ours = new Workbench("resize-ours");
    await qemu.img(["create", "-q", "-f", "qcow2", "base", "4M"], { cwd: theirs.folder });
    await qemu.io("base", ["write -P 9 0 4M"], { cwd: theirs.folder });
    copyFileSync(theirs.path("base"), ours.path("base"));
    for (const change of [...CHANGES, MORE_CHANGES[index % MORE_CHANGES.length] as string[]]) {
      for (const { folder } of [theirs, ours]) {
        await qemu.img(["create", "-q", "-f", "qcow2", ...create], { cwd: folder });
        await qemu.io("image", ["write -P 1 0 200k", "write -P 2 700k 300k", "write -z 512k 64k"], {
          cwd: folder,
        });
      }
      const expected = await qemu.tryImg(["resize", ...change], { cwd: theirs.folder });
      const actual = await tryOursInProcess(["resize", ...change], { cwd: ours.folder });
      expect({ change, ...actual }).toEqual({ change, ...expected });
      await expectTwins(qemu, { theirs, ours, image: "image" });
    }
    caseRan(GROUP, qemu.version);
  });

  it("of a disk that was cut off within a cluster shows zeroes, where qemu-img shows what was there", async () => {
    using bench = new Workbench("resize-tail");
    const cwd = bench.folder;
    await qemu.img(["create", "-q", "-f", "qcow2", "image", "128k"], { cwd });
    await qemu.io("image", ["write -P 1 0 128k"], { cwd });
    for (const change of [
      ["--shrink", "image", "100k"],
      ["image", "1M"],
    ]) {
      expect(await tryOursInProcess(["resize", ...change], { cwd })).toMatchObject({
        exitCode: 0,
        stderr: "",
      });
    }
    await qemu.io("image", ["read -P 1 0 100k", "read -P 0 100k 924k"], { cwd });
    await qemu.img(["check", "-q", "image"], { cwd });
    caseRan(GROUP, qemu.version);
  });

  it("keeps snapshots at their size", async () => {
    using theirs = new Workbench("resize-theirs");
    using ours = new Workbench("resize-ours");
    for (const { folder: cwd } of [theirs, ours]) {
      await qemu.img(["create", "-q", "-f", "qcow2", "image", "1M"], { cwd });
      await qemu.io("image", ["write -P 1 0 1M"], { cwd });
      await qemu.img(["snapshot", "-c", "one", "image"], { cwd });
    }
    for (const change of [
      ["image", "2M"],
      ["--shrink", "image", "512k"],
      ["image", "768k"],
    ]) {
      await qemu.img(["resize", ...change], { cwd: theirs.folder });
      expect(await tryOursInProcess(["resize", ...change], { cwd: ours.folder })).toMatchObject({
        exitCode: 0,
      });
      await expectTwins(qemu, { theirs, ours, image: "image" });
      for (const { folder: cwd } of [theirs, ours]) {
        await qemu.img(["convert", "-l", "one", "-O", "raw", "image", "one.raw"], { cwd });
      }
      expectSameFiles(theirs.path("one.raw"), ours.path("one.raw"));
    }
    for (const { folder: cwd } of [theirs, ours]) await qemu.img(["snapshot", "-a", "one", "image"], { cwd });
    await expectTwins(qemu, { theirs, ours, image: "image" });
    caseRan(GROUP, qemu.version);
  });

  const images = imagesFor(async (cwd) => {
    await qemu.img(["create", "-q", "-f", "qcow2", "image", "1M"], { cwd });
    await qemu.img(["create", "-q", "-f", "qcow2", "-o", "compat=0.10", "version2", "1M"], { cwd });
    await qemu.img(["snapshot", "-c", "one", "version2"], { cwd });
    writeFileSync(join(cwd, "raw"), Buffer.alloc(2 ** 20, 7));
  });

  it.each([
    { words: ["image", "512k"] },
    { words: ["image", "-512k"] },
    { words: ["image", "0"] },
    { words: ["--shrink", "image", "-1M"] },
    { words: ["image", "9E"] },
    { words: ["image", "10P"] },
    { words: ["image", "1000001"] },
    { words: ["image", "abc"] },
    { words: ["image", "+-1"] },
    { words: ["image"] },
    { words: ["image", "1M", "2M"] },
    { words: ["missing", "1M"] },
    { words: ["--preallocation=foo", "image", "5M"] },
    { words: ["--preallocation=metadata", "--shrink", "image", "512k"] },
    { words: ["-f", "raw", "--preallocation=metadata", "raw", "5M"] },
    { words: ["-f", "raw", "raw", "5M"] },
    { words: ["-f", "raw", "--preallocation=full", "raw", "6M"] },
    { words: ["-f", "raw", "--shrink", "raw", "1000k"] },
    { words: ["-f", "raw", "raw", "1k"] },
    { words: ["version2", "5M"] },
    { words: ["-q", "image", "+1M"] },
    { words: ["--image-opts", "driver=qcow2,file.filename=image", "+1M"] },
  ])("$words", async ({ words }) => {
    await runCase({ words: ["resize", ...words] }, { qemu, images });
    caseRan(GROUP, qemu.version);
  });
});
