/** bench: the same answers, but for the time, and the same content after writes. */
import { copyFileSync } from "node:fs";
import { it } from "vitest";
import { caseRan } from "../src/case-log.ts";
import { tryOursAsQemuImg } from "../src/ours.ts";
import { describeConformance } from "../src/requires.ts";
import type { ToolResult } from "../src/run-tool.ts";
import { expectEqualAnswers } from "../src/same-answer.ts";
import { Workbench } from "../src/workbench.ts";

const GROUP = "bench: same answers, same content";

await describeConformance(GROUP, {}, ({ reference: qemu }) => {
  it.each<{ words: string[]; ledger?: number[] }>([
    { words: ["-c", "100", "image"] },
    { words: ["-c", "3000", "-s", "64k", "image"] },
    { words: ["-c", "10", "-d", "4", "-s", "64k", "-S", "128k", "-o", "1M", "image"] },
    { words: ["-c", "100", "-w", "--pattern", "7", "image"] },
    { words: ["-c", "50", "-w", "--pattern", "9", "-s", "12k", "-S", "100k", "-d", "8", "image"] },
    { words: ["-c", "20", "-w", "-d", "4", "--flush-interval", "5", "image"] },
    { words: ["-c", "20", "-w", "-d", "4", "--flush-interval", "5", "--no-drain", "image"] },
    { words: ["-c", "10", "-w", "--flush-interval", "2", "image"] },
    { words: ["--flush-interval", "2", "image"] },
    { words: ["-c", "0", "image"] },
    { words: ["-c", "abc", "image"] },
    { words: ["-d", "0", "image"] },
    { words: ["-s", "0", "image"] },
    { words: ["-s", "3G", "image"] },
    { words: ["-S", "abc", "image"] },
    { words: ["-o", "100M", "image"], ledger: [1] },
    { words: ["--pattern", "300", "image"] },
    { words: ["-q", "-c", "10", "image"] },
    { words: ["-t", "foo", "image"] },
    { words: ["-i", "foo", "image"] },
    { words: ["-i", "threads", "-c", "2", "image"] },
    { words: ["-U", "-c", "2", "image"] },
    { words: ["-U", "-w", "-c", "2", "image"] },
    { words: ["-c", "3", "-s", "1000", "image"] },
    { words: ["--image-opts", "-c", "2", "driver=qcow2,file.filename=image"] },
    { words: [], ledger: [1] },
    { words: ["missing"], ledger: [1] },
  ])("$words", async ({ words, ledger = [] }) => {
    using theirs = new Workbench("bench-theirs");
    using ours = new Workbench("bench-ours");
    await qemu.img(["create", "-q", "-f", "qcow2", "image", "16M"], { cwd: theirs.folder });
    await qemu.io("image", ["write -P 3 0 2M"], { cwd: theirs.folder });
    copyFileSync(theirs.path("image"), ours.path("image"));
    const expected = await qemu.tryImg(["bench", ...words], { cwd: theirs.folder });
    const actual = await tryOursAsQemuImg(["bench", ...words], { cwd: ours.folder });
    expectEqualAnswers({
      actual: withoutTime(actual),
      expected: withoutTime(expected),
      ledger,
      what: words.join(" "),
    });
    await qemu.img(["compare", "-q", theirs.path("image"), ours.path("image")]);
    await qemu.img(["check", "-q", "image"], { cwd: ours.folder });
    caseRan(GROUP, qemu.version);
  });
});

function withoutTime(answer: ToolResult): ToolResult {
  return {
    ...answer,
    stdout: answer.stdout.replace(/completed in \d+\.\d{3} seconds/, "completed in N seconds"),
  };
}
