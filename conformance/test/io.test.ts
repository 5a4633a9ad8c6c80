/** io: each command and option of qemu-io, called alike on twins, has the same answer and leaves the same images. */
import { beforeAll, describe, expect, it } from "vitest";
import { caseRan } from "../src/case-log.ts";
import { withoutTimes } from "../src/io/io-answers.ts";
import { IO_CASES } from "../src/io/io-cases.ts";
import { IO_IMAGES, makeIoImages } from "../src/io/io-images.ts";
import { tryOurs, tryOursAsQemuIo } from "../src/ours.ts";
import { describeConformance } from "../src/requires.ts";
import { expectEqualAnswers } from "../src/same-answer.ts";
import { expectSameImages, type TwinFolders, twinFolders } from "../src/twin-folders.ts";
import { Workbench } from "../src/workbench.ts";

const GROUP = "io: same answers as qemu-io, same images";

await describeConformance(GROUP, {}, ({ reference: qemu }) => {
  describe.each(IO_CASES)("$name", ({ cases }) => {
    let folders: TwinFolders;
    beforeAll(async () => {
      const bench = new Workbench("io");
      folders = await twinFolders(bench, (folder) => makeIoImages(qemu, folder));
      return () => bench[Symbol.dispose]();
    });

    it.each(cases)("$args $input", async ({ args, input, ledger = [] }) => {
      const [actual, expected] = await Promise.all([
        tryOursAsQemuIo(args, { cwd: folders.ours, input }),
        qemu.tryIo(args, { cwd: folders.theirs, input }),
      ]);
      expectEqualAnswers({
        actual: withoutTimes(actual),
        expected: withoutTimes(expected),
        ledger,
        what: args.join(" "),
      });
      caseRan(GROUP, qemu.version);
    });

    it("leaves equal images behind", async () => {
      await expectSameImages(qemu, folders, { images: IO_IMAGES });
    });
  });

  it("ends as a crash would, with a signal or abort", async () => {
    using bench = new Workbench("io");
    const folders = await twinFolders(bench, (folder) => makeIoImages(qemu, folder));
    for (const command of ["sigraise 9", "sigraise 15", "abort"]) {
      const args = ["-c", "write -P 8 128k 1k", "-c", command, "-c", "length", "disk"];
      await expect(tryOursAsQemuIo(args, { cwd: folders.ours })).rejects.toThrow(/SIGKILL|SIGTERM|SIGABRT/);
      await expect(qemu.tryIo(args, { cwd: folders.theirs })).rejects.toThrow(/SIGKILL|SIGTERM|SIGABRT/);
    }
    // What a command says it has written is written, whatever comes after it.
    await expectSameImages(qemu, folders, { images: IO_IMAGES });
  });

  it("is a command of qcow2, too, and says more of what failed", async () => {
    using bench = new Workbench("io");
    await makeIoImages(qemu, bench.folder);
    const args = [
      "io",
      "-c",
      "read -q 0 1k",
      "-c",
      "read 1M 1",
      "-c",
      "write -c 1k 1k",
      "-c",
      "break a b",
      "disk",
    ];
    const answer = await tryOurs(args, { cwd: bench.folder });
    expect(answer.exitCode).toBe(1);
    expect(answer.stdout).toBe(
      "read failed: Input/output error\nwrite failed: Invalid argument\n" +
        "Could not set breakpoint: Operation not supported\n",
    );
    expect(answer.stderr.split("\n")).toEqual([
      "qcow2: The disk has only 1048576 bytes",
      "qcow2: Compressed writes take whole clusters of 65536 bytes",
      "qcow2: Breakpoints need QEMU's driver blkdebug, which is not supported",
      "",
    ]);
  });
});
