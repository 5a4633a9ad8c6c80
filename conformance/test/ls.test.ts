/** ls: what it says of a folder of QEMU's images is what qemu-img says of each, and it sees QEMU's locks. */
import { truncateSync } from "node:fs";
import { execa } from "execa";
import { expect, it } from "vitest";
import { caseRan } from "../src/case-log.ts";
import { ours, tryOurs } from "../src/ours.ts";
import { describeConformance } from "../src/requires.ts";
import { Workbench } from "../src/workbench.ts";

const GROUP = "ls: the same facts as qemu-img info and check";

/** Each is made in the folder, in this order. */
const IMAGES: readonly (readonly string[])[] = [
  ["-f", "raw", "base.img", "20M"],
  ["-f", "qcow2", "-o", "compat=0.10,cluster_size=4k", "-b", "base.img", "-F", "raw", "v2.qcow2"],
  [
    "-f",
    "qcow2",
    "-o",
    "cluster_size=2M,refcount_bits=64",
    "-b",
    "v2.qcow2",
    "-F",
    "qcow2",
    "large.qcow2",
    "1G",
  ],
  ["-f", "qcow2", "-o", "extended_l2=on,compression_type=zstd", "-b", "v2.qcow2", "-F", "qcow2", "sub.qcow2"],
  ["-f", "qcow2", "-o", "data_file=data.bin,data_file_raw=on", "external.qcow2", "8M"],
  ["-f", "qcow2", "-o", "preallocation=metadata,lazy_refcounts=on", "allocated.qcow2", "64M"],
  ["-f", "qcow2", "-u", "-b", "gone.qcow2", "-F", "qcow2", "orphan.qcow2", "1M"],
];

interface ListedImage {
  readonly filename: string;
  readonly [member: string]: unknown;
}

/** What both programs say of an image. */
const SHARED = [
  "filename",
  "format",
  "virtual-size",
  "cluster-size",
  "backing-filename",
  "backing-filename-format",
] as const;

async function list(cwd: string, ...args: string[]): Promise<readonly ListedImage[]> {
  const { stdout } = await tryOurs(["ls", "--output=json", ...args], { cwd });
  return (JSON.parse(stdout) as { images: ListedImage[] }).images;
}

await describeConformance(GROUP, {}, ({ all }) => {
  for (const qemu of all.filter((release) => release.atLeast("7.2"))) {
    it(`QEMU ${qemu.version}`, async () => {
      using bench = new Workbench("ls");
      const cwd = bench.folder;
      for (const args of IMAGES) await qemu.img(["create", "-q", ...args], { cwd });
      for (const name of ["large.qcow2", "v2.qcow2"]) {
        await qemu.io(name, ["write -P 1 0 1M", "write -c -P 2 2M 2M"], { cwd });
        await qemu.img(["snapshot", "-c", "one", name], { cwd });
      }
      await qemu.img(["bitmap", "--add", "large.qcow2", "changes"], { cwd });
      const images = await list(cwd);
      expect(images.map(({ depth, filename }) => `${depth} ${filename}`)).toEqual([
        "0 allocated.qcow2",
        "0 base.img",
        "1 v2.qcow2",
        "2 large.qcow2",
        "2 sub.qcow2",
        "0 external.qcow2",
        "0 gone.qcow2",
        "1 orphan.qcow2",
      ]);
      for (const image of images.filter(({ filename }) => filename !== "gone.qcow2")) {
        const { stdout } = await qemu.img(["info", "--output=json", image.filename], { cwd });
        const theirs = JSON.parse(stdout);
        const expected = Object.fromEntries(SHARED.map((member) => [member, theirs[member]]));
        expect(image).toMatchObject(JSON.parse(JSON.stringify(expected)));
        if (image.format !== "qcow2") continue;
        const { compat, bitmaps = [], corrupt = false } = theirs["format-specific"].data;
        expect(image).toMatchObject({
          compat,
          corrupt,
          bitmaps: bitmaps.length,
          snapshots: (theirs.snapshots ?? []).length,
          "dirty-flag": theirs["dirty-flag"],
        });
        // With the external data file, which qemu-img leaves out.
        if (image["data-file"] === undefined) expect(image["actual-size"]).toBe(theirs["actual-size"]);
      }
      expect(images.filter(({ health }) => health !== "good").map(({ filename }) => filename)).toEqual([
        "gone.qcow2",
        "orphan.qcow2",
      ]);
      caseRan(GROUP, qemu.version);
    });

    it(`--check is of one mind with qemu-img check, and sees who writes (QEMU ${qemu.version})`, async () => {
      using bench = new Workbench("ls-check");
      const cwd = bench.folder;
      for (const name of ["good.qcow2", "leaky.qcow2", "cut.qcow2"]) {
        await qemu.img(["create", "-q", "-f", "qcow2", name, "3G"], { cwd });
        await qemu.io(name, ["write -P 1 0 1M", "write -P 2 1500M 1M", "write -P 3 9M 4M"], { cwd });
      }
      // A machine that was killed: refcounts are raised before anything refers to what they count.
      await execa("dd", ["of=leaky.qcow2", "bs=1", `seek=${2 * 65536 + 2 * 120}`, "conv=notrunc"], {
        cwd,
        input: Uint8Array.of(0, 1, 0, 1),
      });
      truncateSync(bench.path("leaky.qcow2"), 140 * 65536);
      truncateSync(bench.path("cut.qcow2"), 20 * 65536);
      const images = await list(cwd, "--check");
      expect(images.map(({ health }) => health)).toEqual(["broken", "good", "warning"]);
      for (const { filename, check, health } of images) {
        const { stdout, exitCode } = await qemu.tryImg(["check", "--output=json", filename], { cwd });
        const theirs = JSON.parse(stdout);
        expect(check).toMatchObject({
          corruptions: theirs.corruptions ?? 0,
          leaks: theirs.leaks ?? 0,
          "check-errors": theirs["check-errors"],
          "total-clusters": theirs["total-clusters"],
          "allocated-clusters": theirs["allocated-clusters"],
        });
        expect(health, filename).toBe(exitCode === 0 ? "good" : exitCode === 3 ? "warning" : "broken");
      }
      // A cut is seen without a check if a table lay behind it.
      const glance = (await list(cwd)).filter(({ health }) => health !== "good");
      expect(glance.map(({ filename }) => filename)).toEqual(["cut.qcow2"]);

      const [program, ...fixed] = qemu.command("qemu-io");
      const holder = execa(program, [...fixed, "-f", "qcow2", "good.qcow2"], { cwd, reject: false });
      try {
        await new Promise<void>((resolve) => {
          holder.stdout.on("data", (text) => String(text).includes("qemu-io>") && resolve());
        });
        const [, good] = await list(cwd, "--check");
        if (good?.["used-by-others"] !== undefined) {
          expect(good).toMatchObject({ "used-by-others": "writing", health: "warning" });
          expect(good).toMatchObject({ problems: [{ code: "not-checked" }] });
        }
      } finally {
        holder.stdin.end("quit\n");
        await holder;
      }
      expect((await ours(["ls", "-e", "good.qcow2"], { cwd })).exitCode).toBe(0);
      caseRan(GROUP, qemu.version);
    });
  }
});
