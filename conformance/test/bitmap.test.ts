/** bitmap: the same answers as qemu-img, and bitmaps that QEMU reads as its own. */
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { caseRan } from "../src/case-log.ts";
import { markInUse } from "../src/damage.ts";
import { runCase } from "../src/options/run-case.ts";
import { imagesFor } from "../src/options/test-cases.ts";
import { ours } from "../src/ours.ts";
import { tryOursInProcess } from "../src/ours-in-process.ts";
import { describeConformance } from "../src/requires.ts";
import { expectSameBits } from "../src/twins/dirty-ranges.ts";
import { expectTwins } from "../src/twins/expect-twins.ts";
import { Workbench } from "../src/workbench.ts";

const GROUP = "bitmap: same answers, bitmaps and bits, clean";

const CREATION_OPTIONS = [
  "cluster_size=64k",
  "cluster_size=512,refcount_bits=8",
  "cluster_size=2M",
  "cluster_size=64k,extended_l2=on",
];

/** Given to both, with writes by qemu-io in between. */
const COMMANDS: readonly (readonly string[])[] = [
  ["bitmap", "--add", "image", "one"],
  ["bitmap", "--add", "-g", "512", "image", "fine"],
  ["bitmap", "--add", "--disable", "-g", "1M", "image", "coarse"],
  ["bitmap", "--merge", "fine", "image", "coarse"],
  ["bitmap", "--enable", "image", "coarse"],
  ["bitmap", "--disable", "--clear", "image", "fine"],
  ["bitmap", "--merge", "coarse", "--enable", "image", "fine"],
  ["resize", "image", "+1536k"],
  ["bitmap", "--add", "--merge", "fine", "--merge", "one", "image", "both"],
  ["snapshot", "-c", "kept", "image"],
  ["resize", "--shrink", "image", "2560k"],
  ["bitmap", "-b", "other", "-F", "qcow2", "--merge", "theirs", "image", "one"],
  ["bitmap", "--remove", "image", "coarse"],
  ["amend", "-o", "lazy_refcounts=on", "image"],
];

const WRITES = ["write -P 1 0 200k", "write -P 2 1m 3k", "write -z 640k 64k", "discard 2m 128k"];

await describeConformance(GROUP, {}, ({ reference: qemu }) => {
  it.each(CREATION_OPTIONS)("%s", async (options) => {
    using theirs = new Workbench("bitmap-theirs");
    using ours = new Workbench("bitmap-ours");
    const cwd = theirs.folder;
    await qemu.img(["create", "-q", "-f", "qcow2", "-o", options, "image", "4M"], { cwd });
    await qemu.img(["create", "-q", "-f", "qcow2", "other", "2560k"], { cwd });
    await qemu.img(["bitmap", "--add", "other", "theirs"], { cwd });
    await qemu.io("other", ["write 256k 1k"], { cwd });
    for (const name of ["image", "other"]) copyFileSync(theirs.path(name), ours.path(name));
    for (const [index, words] of COMMANDS.entries()) {
      await qemu.img(words, { cwd: theirs.folder });
      const answer = await tryOursInProcess(words, { cwd: ours.folder });
      expect({ words, ...answer }).toMatchObject({ words, exitCode: 0, stderr: "" });
      const write = WRITES[index % WRITES.length] as string;
      for (const { folder } of [theirs, ours]) await qemu.io("image", [write], { cwd: folder });
    }
    await expectTwins(qemu, { theirs, ours, image: "image" });
    expect(await expectSameBits(qemu, theirs, ours)).toBeGreaterThan(0);
    caseRan(GROUP, qemu.version);
  });

  it("our writes are in the bitmaps that follow the disk, as QEMU's are", async () => {
    using theirs = new Workbench("bitmap-theirs");
    using ours = new Workbench("bitmap-ours");
    const cwd = theirs.folder;
    await qemu.img(["create", "-q", "-f", "raw", "source", "3M"], { cwd });
    const content = Buffer.alloc(3 * 2 ** 20);
    content.fill(7, 200_000, 700_000);
    content.fill(8, 2_000_000, 2_100_000);
    for (const bench of [theirs, ours]) writeFileSync(bench.path("source"), content);
    await qemu.img(["create", "-q", "-f", "qcow2", "image", "4M"], { cwd });
    await qemu.img(["bitmap", "--add", "image", "one"], { cwd });
    await qemu.img(["bitmap", "--add", "--disable", "image", "off"], { cwd });
    copyFileSync(theirs.path("image"), ours.path("image"));
    const words = [
      "convert",
      "-n",
      "--target-is-zero",
      "-S",
      "0",
      "-f",
      "raw",
      "-O",
      "qcow2",
      "source",
      "image",
    ];
    await qemu.img(words, { cwd });
    expect(await tryOursInProcess(words, { cwd: ours.folder })).toMatchObject({ exitCode: 0, stderr: "" });
    await expectTwins(qemu, { theirs, ours, image: "image" });
    expect(await expectSameBits(qemu, theirs, ours)).toBeGreaterThan(0);
    caseRan(GROUP, qemu.version);
  });

  it.each([
    ["convert", "--bitmaps"],
    ["convert", "-c", "--bitmaps", "-o", "cluster_size=4k"],
  ])("%s %s %s %s: the copy has the same bitmaps", async (...words) => {
    using theirs = new Workbench("bitmap-theirs");
    using ours = new Workbench("bitmap-ours");
    const cwd = theirs.folder;
    await qemu.img(["create", "-q", "-f", "qcow2", "source", "4M"], { cwd });
    await qemu.img(["bitmap", "--add", "source", "one"], { cwd });
    await qemu.img(["bitmap", "--add", "-g", "512", "source", "fine"], { cwd });
    await qemu.io("source", WRITES, { cwd });
    await qemu.img(["bitmap", "--disable", "source", "fine"], { cwd });
    copyFileSync(theirs.path("source"), ours.path("source"));
    const command = [...words.filter((word) => word !== undefined), "-O", "qcow2", "source", "image"];
    await qemu.img(command, { cwd });
    expect(await tryOursInProcess(command, { cwd: ours.folder })).toMatchObject({ exitCode: 0, stderr: "" });
    await expectTwins(qemu, { theirs, ours, image: "image" });
    expect(await expectSameBits(qemu, theirs, ours)).toBeGreaterThan(0);
    caseRan(GROUP, qemu.version);
  });

  const images = imagesFor(async (cwd) => {
    const create = ["create", "-q", "-f", "qcow2"];
    await qemu.img([...create, "image", "1M"], { cwd });
    for (const name of ["one", "broken"]) await qemu.img(["bitmap", "--add", "image", name], { cwd });
    markInUse(join(cwd, "image"), "broken");
    await qemu.img([...create, "larger", "5M"], { cwd });
    await qemu.img(["bitmap", "--add", "larger", "big"], { cwd });
    copyFileSync(join(cwd, "larger"), join(cwd, "larger2"));
    await qemu.img([...create, "-o", "compat=0.10", "version2", "1M"], { cwd });
    await qemu.img(["create", "-q", "-f", "raw", "raw", "1M"], { cwd });
  });
  const longest = "n".repeat(1023);
  it.each([
    { words: ["--add", "image", "new"] },
    { words: ["--add", "-g", "100", "image", "new"] },
    { words: ["--add", "-g", "256", "image", "new"] },
    { words: ["--add", "-g", "4G", "image", "new"] },
    { words: ["--add", "image", "one"] },
    { words: ["--add", "image", ""] },
    { words: ["--add", "image", longest] },
    { words: ["--add", "image", `${longest}n`], ledger: [1] },
    { words: ["--remove", "image", "missing"] },
    { words: ["--clear", "image", "missing"] },
    { words: ["--merge", "missing", "image", "one"] },
    { words: ["--clear", "image", "broken"] },
    { words: ["--enable", "image", "broken"] },
    { words: ["--merge", "broken", "image", "one"] },
    { words: ["--add", "image", "broken"] },
    { words: ["--remove", "image", "broken"] },
    { words: ["-b", "larger", "-F", "qcow2", "--merge", "big", "image", "one"] },
    { words: ["-b", "larger", "-F", "qcow2", "--merge", "missing", "image", "one"] },
    // All actions or none: see "Further differences" in the ledger.
    { words: ["--remove", "--clear", "image", "one"], except: "everything" as const },
    { words: ["--add", "--clear", "--remove", "image", "new"] },
    { words: ["image", "one"] },
    { words: ["--add", "image"] },
    { words: ["-g", "512", "--enable", "image", "one"] },
    { words: ["-b", "larger", "--enable", "image", "one"] },
    { words: ["-F", "qcow2", "--enable", "image", "one"] },
    { words: ["--add", "missing", "one"] },
    { words: ["-f", "raw", "--add", "raw", "one"], ledger: [1] },
    { words: ["--add", "version2", "one"], ledger: [1] },
    { words: ["--image-opts", "--add", "driver=qcow2,file.filename=image", "new"] },
    { command: "resize", words: ["image", "2M"] },
    { command: "convert", words: ["--bitmaps", "-O", "qcow2", "image", "copy"] },
    { command: "convert", words: ["--bitmaps", "--skip-broken-bitmaps", "-O", "qcow2", "image", "copy"] },
    { command: "convert", words: ["--skip-broken-bitmaps", "-O", "qcow2", "image", "copy"] },
    { command: "convert", words: ["--bitmaps", "-f", "raw", "-O", "qcow2", "raw", "copy"] },
    { command: "convert", words: ["--bitmaps", "-O", "qcow2", "larger", "larger", "copy"] },
    { command: "convert", words: ["-n", "--bitmaps", "-O", "qcow2", "larger", "larger2"] },
    { command: "measure", words: ["-O", "qcow2", "larger"] },
    { command: "measure", words: ["-O", "qcow2", "--output=json", "larger"] },
  ])("$command $words", async ({ command = "bitmap", words, ...rest }) => {
    await runCase({ words: [command, ...words], ...rest }, { qemu, images });
    caseRan(GROUP, qemu.version);
  });

  it("actions are done all or not at all, where qemu-img does those before the mistake", async () => {
    using bench = new Workbench("bitmap");
    const cwd = bench.folder;
    await qemu.img(["create", "-q", "-f", "qcow2", "image", "1M"], { cwd });
    await ours(["bitmap", "--add", "image", "one"], { cwd });
    const before = readFileSync(bench.path("image"));
    const answer = await tryOursInProcess(["bitmap", "--remove", "--clear", "image", "one"], { cwd });
    expect(answer).toMatchObject({ exitCode: 1, stdout: "" });
    expect(before.equals(readFileSync(bench.path("image")))).toBe(true);
    caseRan(GROUP, qemu.version);
  });
});
