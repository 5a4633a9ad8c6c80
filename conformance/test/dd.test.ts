/** dd: the same answers, and the same bytes. */
import { existsSync, writeFileSync } from "node:fs";
import { expect, it } from "vitest";
import { caseRan } from "../src/case-log.ts";
import { tryOursAsQemuImg } from "../src/ours.ts";
import { describeConformance } from "../src/requires.ts";
import { expectEqualAnswers } from "../src/same-answer.ts";
import { expectSameFiles } from "../src/same-files.ts";
import { Workbench } from "../src/workbench.ts";

const GROUP = "dd: same answers and bytes";

await describeConformance(GROUP, {}, ({ reference: qemu }) => {
  it.each<{ words: string[]; ledger?: number[] }>([
    { words: ["-f", "raw", "if=raw", "of=out"] },
    { words: ["-f", "raw", "-O", "qcow2", "if=raw", "of=out"] },
    { words: ["if=qcow2", "of=out", "bs=64k"] },
    { words: ["-f", "raw", "bs=1k", "count=10", "if=raw", "of=out"] },
    { words: ["-f", "raw", "bs=1k", "count=20", "skip=3", "if=raw", "of=out"] },
    { words: ["-f", "raw", "bs=1000", "skip=3", "if=raw", "of=out"] },
    { words: ["-f", "raw", "bs=1000", "skip=3", "count=2", "if=raw", "of=out"] },
    { words: ["-f", "raw", "bs=1M", "skip=5", "if=raw", "of=out"] },
    { words: ["-f", "raw", "bs=1.5k", "count=3", "if=raw", "of=out"] },
    { words: ["-f", "raw", "count=0", "if=raw", "of=out"] },
    { words: ["-f", "raw", "count=10M", "if=raw", "of=out"] },
    { words: ["-f", "raw", "skip=-1", "if=raw", "of=out"] },
    { words: ["-f", "raw", "bs=0", "if=raw", "of=out"] },
    { words: ["-f", "raw", "bs=3G", "if=raw", "of=out"] },
    { words: ["-f", "raw", "bs=abc", "if=raw", "of=out"] },
    { words: ["-U", "-f", "raw", "if=raw", "of=out"] },
    { words: ["--image-opts", "if=driver=raw,file.filename=raw", "of=out"] },
    { words: ["if=raw"] },
    { words: ["of=out"] },
    { words: ["foo=1", "if=raw", "of=out"] },
    { words: ["raw", "out"] },
    { words: ["if=missing", "of=out"], ledger: [1] },
    { words: ["-O", "bogus", "-f", "raw", "if=raw", "of=out"], ledger: [1] },
    { words: ["-f", "raw", "if=raw", "of=nowhere/out"] },
  ])("$words", async ({ words, ledger = [] }) => {
    using theirs = new Workbench("dd-theirs");
    using ours = new Workbench("dd-ours");
    const content = Buffer.alloc(1_000_448);
    for (let at = 0; at < 300_000; at += 4) content.writeUInt32LE(at, at);
    content.fill(9, 700_000, 800_000);
    for (const { folder: cwd } of [theirs, ours]) {
      writeFileSync(`${cwd}/raw`, content);
      await qemu.img(["convert", "-f", "raw", "-O", "qcow2", "raw", "qcow2"], { cwd });
    }
    const expected = await qemu.tryImg(["dd", ...words], { cwd: theirs.folder });
    const actual = await tryOursAsQemuImg(["dd", ...words], { cwd: ours.folder });
    expectEqualAnswers({ actual, expected, ledger, what: words.join(" ") });
    expect(existsSync(ours.path("out"))).toBe(existsSync(theirs.path("out")));
    if (existsSync(ours.path("out"))) {
      const format = words.includes("-O") ? "qcow2" : "raw";
      for (const { folder: cwd } of [theirs, ours]) {
        await qemu.img(["convert", "-f", format, "-O", "raw", "out", "out.raw"], { cwd });
      }
      expectSameFiles(ours.path("out.raw"), theirs.path("out.raw"));
    }
    caseRan(GROUP, qemu.version);
  });

  it("does not write over what it reads, where qemu-img does", async () => {
    using bench = new Workbench("dd");
    writeFileSync(bench.path("raw"), Buffer.alloc(65536, 7));
    const answer = await tryOursAsQemuImg(["dd", "-f", "raw", "if=raw", "of=raw"], { cwd: bench.folder });
    expect(answer).toMatchObject({ exitCode: 1, stdout: "" });
    expect(answer.stderr).toMatch(/The target is the source image/);
    caseRan(GROUP, qemu.version);
  });
});
