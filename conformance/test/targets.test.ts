/** The names that commands write to: held beside real QEMU from the start, and written in place where qemu-img does. */
import { existsSync, linkSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import { expect, it } from "vitest";
import { caseRan } from "../src/case-log.ts";
import { OUR_BIN, tryOurs, tryOursAsQemuImg } from "../src/ours.ts";
import { describeConformance } from "../src/requires.ts";
import { Workbench } from "../src/workbench.ts";

const GROUP = "targets: whose the name is";
const MIB = 2 ** 20;
/** More than is written before a limited rate makes itself felt. */
const SOURCE_BYTES = 16 * MIB;

/** A folder with a source; the target is there before, or not. */
function makeBench(before: string | undefined): Workbench {
  const bench = new Workbench("targets");
  writeFileSync(bench.path("s.raw"), Buffer.alloc(SOURCE_BYTES, "source "));
  if (before !== undefined) writeFileSync(bench.path("t"), before);
  return bench;
}

/** Resolves once it has written something beside the target, or into it. */
async function untilWriting(bench: Workbench): Promise<void> {
  const isWriting = (): boolean =>
    readdirSync(bench.folder).some(
      (name) =>
        name !== "s.raw" && (statSync(bench.path(name), { throwIfNoEntry: false })?.size ?? 0) >= 65536,
    );
  while (!isWriting()) await sleep(20);
}

await describeConformance(GROUP, { platform: "linux" }, ({ reference: qemu, all }) => {
  it.each([["old"], [undefined]])(
    "QEMU finds the target of a conversion in use (before: %s)",
    async (before) => {
      using bench = makeBench(before);
      const cwd = bench.folder;
      const args = [OUR_BIN, "convert", "-r", "1M", "-O", "raw", "s.raw", "t"];
      const converting = execa(process.execPath, args, { cwd, reject: false });
      await untilWriting(bench);
      converting.kill("SIGSTOP");
      for (const release of all) {
        const answers = [
          await release.tryImg(["create", "-f", "raw", "t", "1M"], { cwd }),
          await release.tryImg(["convert", "-f", "raw", "-O", "raw", "s.raw", "t"], { cwd }),
          await release.tryIo(["-f", "raw", "-c", "write 0 512", "t"], { cwd }),
        ];
        for (const { exitCode, stderr } of answers) {
          expect(stderr).toMatch(/lock/);
          expect(exitCode).toBe(1);
        }
      }
      expect(readFileSync(bench.path("t"), "latin1"), "what was there stays until the end").toBe(
        before ?? "",
      );
      converting.kill("SIGCONT");
      converting.kill("SIGINT");
      await converting;
      expect(readdirSync(cwd).sort(), "and is there afterwards").toEqual(
        before === undefined ? ["s.raw"] : ["s.raw", "t"],
      );
      for (const { version } of all) caseRan(GROUP, version);
    },
  );

  it("ours does not write to what QEMU has open, or is making", async () => {
    using bench = makeBench("old");
    const cwd = bench.folder;
    const [program, ...fixed] = qemu.command("qemu-io");
    const holding = execa(program, [...fixed, "-f", "raw", "t"], { cwd, stdin: "pipe", reject: false });
    // It answers when it has the file open.
    holding.stdin.write("length\n");
    await new Promise((resolve) => holding.stdout.once("data", resolve));
    for (const args of [
      ["convert", "-O", "raw", "s.raw", "t"],
      ["create", "-q", "-f", "raw", "t", "1M"],
      ["dd", "if=s.raw", "of=t"],
    ]) {
      const { exitCode, stderr } = await tryOurs(args, { cwd });
      expect(stderr).toMatch(/Failed to get .*lock/);
      expect(exitCode).toBe(1);
    }
    holding.stdin.end("quit\n");
    await holding;
    const [image, ...rest] = qemu.command("qemu-img");
    const making = execa(image, [...rest, "convert", "-r", "1M", "-O", "raw", "s.raw", "new"], {
      cwd,
      reject: false,
    });
    while (!existsSync(bench.path("new"))) await sleep(5);
    await untilWriting(bench);
    making.kill("SIGSTOP");
    const answer = await tryOurs(["convert", "-O", "raw", "s.raw", "new"], { cwd });
    expect(answer.stderr).toMatch(/Failed to get .*lock/);
    making.kill("SIGKILL");
    await making;
    caseRan(GROUP, qemu.version);
  });

  it("of conversions of both to one name, what the name has in the end is one that succeeded", async () => {
    using bench = makeBench(undefined);
    const cwd = bench.folder;
    writeFileSync(bench.path("q.raw"), Buffer.alloc(SOURCE_BYTES, "another "));
    const [image, ...rest] = qemu.command("qemu-img");
    for (let round = 0; round < 3; round++) {
      const name = `t${round}`;
      const [theirs, ours] = await Promise.all([
        execa(image, [...rest, "convert", "-r", "64M", "-O", "raw", "q.raw", name], { cwd, reject: false }),
        execa(process.execPath, [OUR_BIN, "convert", "-r", "64M", "-O", "raw", "s.raw", name], {
          cwd,
          reject: false,
        }),
      ]);
      const content = readFileSync(bench.path(name));
      const isOurs = content.equals(readFileSync(bench.path("s.raw")));
      const isTheirs = content.equals(readFileSync(bench.path("q.raw")));
      expect((isOurs && ours.exitCode === 0) || (isTheirs && theirs.exitCode === 0)).toBe(true);
      expect(readdirSync(cwd).filter((file) => file.startsWith("."))).toEqual([]);
    }
    caseRan(GROUP, qemu.version);
  });

  it("in place, both write the same: other names, descriptors, files without a name", async () => {
    using bench = makeBench(undefined);
    const cwd = bench.folder;
    const tools = {
      ours: tryOursAsQemuImg,
      theirs: (...[args, options]: Parameters<typeof tryOurs>) => qemu.tryImg(args, options),
    };
    for (const [tool, run] of Object.entries(tools)) {
      for (const format of ["raw", "qcow2"]) {
        const name = `${tool}.${format}`;
        writeFileSync(bench.path(name), Buffer.alloc(SOURCE_BYTES + MIB, "old "));
        linkSync(bench.path(name), bench.path(`${name}.link`));
        const answer = await run(["convert", "-O", format, "s.raw", name], { cwd });
        expect(answer).toEqual({ exitCode: 0, stdout: "", stderr: "" });
        const compared = ["compare", "-f", "raw", "-F", format, "s.raw", `${name}.link`];
        expect((await qemu.tryImg(compared, { cwd })).exitCode).toBe(0);
        await using handle = await open(bench.path(`${name}.fd`), "w+");
        const descriptor = `/proc/${process.pid}/fd/${handle.fd}`;
        expect(await run(["convert", "-O", format, "s.raw", descriptor], { cwd })).toEqual(answer);
        expect((await handle.stat()).size).toBe(statSync(bench.path(name)).size);
        expect((await qemu.tryImg([...compared.slice(0, -1), `${name}.fd`], { cwd })).exitCode).toBe(0);
      }
    }
    caseRan(GROUP, qemu.version);
  });

  it("on a device, falloc is refused by both, and what the device held is shown by none of ours", async ({
    skip,
  }) => {
    using bench = makeBench(undefined);
    const cwd = bench.folder;
    writeFileSync(bench.path("device"), Buffer.alloc(8 * MIB, "old "));
    const attached = await execa("losetup", ["--find", "--show", bench.path("device")], { reject: false });
    if (attached.exitCode !== 0) return skip("attaching a loop device is not permitted here");
    const device = attached.stdout.trim();
    try {
      const create = (preallocation: string) => {
        return ["create", "-q", "-f", "qcow2", "-o", `preallocation=${preallocation}`, device, "4M"];
      };
      const answers = [
        await qemu.tryImg(create("falloc"), { cwd }),
        await tryOurs(create("falloc"), { cwd }),
      ];
      for (const { exitCode, stderr } of answers) {
        expect(stderr).toMatch(/Preallocation mode 'falloc' unsupported for this non-regular file/);
        expect(exitCode).toBe(1);
      }
      for (const preallocation of ["off", "metadata", "full"]) {
        await execa("dd", ["if=/dev/urandom", `of=${device}`, "bs=1M", "count=8", "conv=fsync"]);
        expect(await tryOurs(create(preallocation), { cwd })).toMatchObject({ exitCode: 0, stderr: "" });
        const read = await qemu.io(device, ["read -P 0 0 4M"], { cwd });
        expect(read.stdout).not.toMatch(/verification failed/);
        expect((await qemu.img(["check", "-f", "qcow2", device], { cwd })).exitCode).toBe(0);
      }
    } finally {
      await execa("losetup", ["--detach", device]);
    }
    caseRan(GROUP, qemu.version);
  });
});
