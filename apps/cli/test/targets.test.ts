/** What commands write to: never what they read, never a file of somebody else's, and never half of it under its name. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmod,
  chown,
  link,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import { describe, expect, onTestFinished, test } from "vitest";
import { COMMAND, runHere, type Workspace, workspace } from "./run-command.ts";

const isWindows = process.platform === "win32";
const isLinux = process.platform === "linux";
const DATA = Buffer.alloc(2 ** 20, "data ");

async function withData(): Promise<Workspace> {
  const at = await workspace();
  await writeFile(at.file("s.raw"), DATA);
  return at;
}

const bytes = (at: Workspace, name: string): Promise<Buffer> => readFile(at.file(name));

describe("a file that a command reads or writes is not written through another name", () => {
  test.each<[string, readonly string[], RegExp]>([
    ["create", ["create", "-q", "-f", "qcow2", "-o", "data_file=t", "t", "1M"], /are the same file/],
    ["create", ["create", "-q", "-f", "qcow2", "-o", "data_file=old", "./old", "1M"], /are the same file/],
    ["create", ["create", "-q", "-f", "qcow2", "-o", "data_file=link", "old", "1M"], /are the same file/],
    [
      "create over a base",
      ["create", "-q", "-f", "qcow2", "-b", "s.raw", "-F", "raw", "-o", "data_file=s.raw", "t"],
      /its own backing file/,
    ],
    [
      "create -u over a base",
      ["create", "-q", "-u", "-f", "qcow2", "-b", "s.raw", "-F", "raw", "-o", "data_file=s.raw", "t", "1M"],
      /its own backing file/,
    ],
    [
      "create -u over an overlay",
      [
        "create",
        "-q",
        "-u",
        "-f",
        "qcow2",
        "-b",
        "o.qcow2",
        "-F",
        "qcow2",
        "-o",
        "data_file=s.raw",
        "t",
        "1M",
      ],
      /its own backing file/,
    ],
    ["convert", ["convert", "-O", "qcow2", "-o", "data_file=t", "s.raw", "t"], /are the same file/],
    ["convert", ["convert", "-O", "qcow2", "-o", "data_file=s.raw", "s.raw", "t"], /the source image/],
    ["convert", ["convert", "-O", "qcow2", "-o", "data_file=s.raw", "o.qcow2", "t"], /the source image/],
    ["convert of a data file's image", ["convert", "-O", "raw", "d.qcow2", "d.raw"], /the source image/],
    ["convert -n", ["convert", "-n", "-O", "qcow2", "d.raw", "d.qcow2"], /lock|file of the source image/],
    ["dd", ["dd", "-O", "raw", "if=d.qcow2", "of=d.raw"], /the source image/],
    [
      "convert -B",
      [
        ["convert", "-O", "qcow2", "-B", "s.raw", "-F", "raw"],
        ["-o", "data_file=s.raw", "o.qcow2", "t"],
      ].flat(),
      /the source image|its own backing file/,
    ],
    ["rebase", ["rebase", "-b", "d.raw", "-F", "raw", "d.qcow2"], /the data file of 'd.qcow2'/],
    ["rebase -u", ["rebase", "-u", "-b", "d.raw", "-F", "raw", "d.qcow2"], /the data file of 'd.qcow2'/],
    ["amend", ["amend", "-o", "data_file=d.qcow2", "d.qcow2"], /is the image/],
    ["commit", ["commit", "both.qcow2"], /part of its own chain/],
    ["io", ["io", "-c", "write 0 64k", "both.qcow2"], /part of its own chain/],
    ["bitmap --merge", ["bitmap", "--merge", "x", "-b", "o.qcow2", "o.qcow2", "x"], /lock|would be written/],
  ])("%s %j", async (_, args, reason) => {
    const at = await withData();
    await writeFile(at.file("old"), "old");
    await link(at.file("old"), at.file("link"));
    await at.succeed("create", "-q", "-f", "qcow2", "-b", "s.raw", "-F", "raw", "o.qcow2");
    await at.succeed("bitmap", "--add", "o.qcow2", "x");
    await at.succeed("create", "-q", "-f", "qcow2", "-o", "data_file=d.raw", "d.qcow2", "1M");
    await at.succeed("io", "-c", "write -P 7 0 64k", "d.qcow2");
    await at.succeed("create", "-q", "-f", "qcow2", "-o", "data_file=b.raw", "both.qcow2", "1M");
    await at.succeed("rebase", "-u", "-b", "other", "-F", "raw", "both.qcow2");
    await rm(at.file("b.raw"));
    await link(at.file("s.raw"), at.file("b.raw"));
    await link(at.file("s.raw"), at.file("other"));
    const names = await readdir(at.folder);
    const before = await Promise.all(names.map((name) => bytes(at, name)));
    const outcome = await runHere(at.folder, args);
    expect(outcome.stderr + outcome.stdout).toMatch(reason);
    expect(outcome.exitCode).toBe(1);
    expect(await readdir(at.folder)).toEqual(names);
    const after = await Promise.all(names.map((name) => bytes(at, name)));
    expect(names.filter((_name, index) => !before[index]!.equals(after[index]!))).toEqual([]);
  });
});

// What makes a file be written in place is looked at where owners, mounts and link counts mean what they do on POSIX systems.
describe.skipIf(isWindows)("a target that cannot be replaced", () => {
  test("keeps its other names, and qcow2 says that it is written in place", async () => {
    const at = await withData();
    await writeFile(at.file("t"), Buffer.alloc(2 ** 21, "old "));
    await link(at.file("t"), at.file("t2"));
    const outcome = await at.qcow2("convert", "-O", "raw", "s.raw", "t");
    expect(outcome).toMatchObject({ exitCode: 0, stdout: "" });
    expect(outcome.stderr).toBe(
      "qcow2: warning: 't' is written in place, because it has other names (hard links): " +
        "what it holds is lost if this does not come to its end\n",
    );
    expect((await bytes(at, "t2")).equals(DATA)).toBe(true);
    expect((await stat(at.file("t"))).nlink).toBe(2);
    const second = await at.qcow2("create", "-f", "qcow2", "t", "1M");
    expect(second.stderr).toMatch(/^qcow2: warning: 't' is written in place/);
    expect(await at.succeed("compare", "-f", "qcow2", "t2", "t2")).toBe("Images are identical.\n");
    expect((await at.qcow2("create", "-q", "-f", "raw", "t", "64k")).stderr).toBe("");
    expect((await bytes(at, "t2")).equals(Buffer.alloc(65536))).toBe(true);
  });

  // Descriptors have names below /proc on Linux alone.
  test.runIf(isLinux)("is written for whoever has its descriptor, with a name or without", async () => {
    const at = await withData();
    const handle = await open(at.file("t"), "w+");
    onTestFinished(() => handle.close());
    const name = `/proc/self/fd/${handle.fd}`;
    for (const gone of [false, true]) {
      if (gone) await rm(at.file("t"));
      expect((await at.qcow2("convert", "-O", "raw", "s.raw", name)).exitCode).toBe(0);
      const into = Buffer.alloc(DATA.length);
      await handle.read(into, 0, into.length, 0);
      expect(into.equals(DATA)).toBe(true);
      await handle.truncate(0);
    }
    expect(await readdir(at.folder)).toEqual(["s.raw"]);
  });
});

describe("an image and its data file", () => {
  test("that are converted over anew stay as they were if one of them is somebody else's by then", async () => {
    const at = await withData();
    const args = ["-O", "qcow2", "-o", "data_file=d.raw", "s.raw", "d.qcow2"];
    await at.succeed("convert", ...args);
    const old = { image: await bytes(at, "d.qcow2"), data: await bytes(at, "d.raw") };
    await writeFile(at.file("s.raw"), Buffer.alloc(2 ** 20, "other data "));
    const converting = at.start("convert", "-r", "1M", ...args);
    await untilTemporary(at, 2);
    await writeFile(at.file("taken"), "somebody else's");
    await rename(at.file("taken"), at.file("d.qcow2"));
    const outcome = await converting;
    expect(outcome).toMatchObject({ exitCode: 1 });
    expect(outcome.stderr).toMatch(
      /'d.qcow2' was changed or replaced by somebody else meanwhile; the finished result is in '[^']+' and '[^']+'/,
    );
    expect(await readFile(at.file("d.qcow2"), "latin1")).toBe("somebody else's");
    expect((await bytes(at, "d.raw")).equals(old.data)).toBe(true);
  });
});

/** Waits until a command has begun to write so many targets. */
async function untilTemporary(at: Workspace, count: number): Promise<void> {
  for (;;) {
    const names = await readdir(at.folder);
    const parts = names.filter((name) => name.endsWith(".part"));
    const sizes = await Promise.all(
      parts.map(async (name) => (await stat(at.file(name)).catch(() => ({ size: 0 }))).size),
    );
    if (sizes.filter((size) => size > 0).length >= count) return;
    await sleep(20);
  }
}

// Windows has no signals that a program could end for in order.
describe.skipIf(isWindows)("a conversion that is killed", () => {
  test.each([["old"], [undefined]])(
    "leaves what was there, or an empty file (before: %s)",
    async (before) => {
      const at = await withData();
      if (before !== undefined) await writeFile(at.file("t"), before);
      const args = ["convert", "-r", "64k", "-O", "raw", "s.raw", "t"];
      const child = spawn(process.execPath, [COMMAND, ...args], { cwd: at.folder, stdio: "ignore" });
      await untilTemporary(at, 1);
      child.kill("SIGKILL");
      await once(child, "exit");
      expect(await readFile(at.file("t"), "latin1")).toBe(before ?? "");
      await at.succeed("convert", "-O", "raw", "s.raw", "t");
      expect((await bytes(at, "t")).equals(DATA)).toBe(true);
    },
  );

  test("or interrupted leaves nothing", async () => {
    const at = await withData();
    const args = ["convert", "-r", "64k", "-O", "qcow2", "-o", "data_file=d", "s.raw", "t"];
    const child = spawn(process.execPath, [COMMAND, ...args], { cwd: at.folder, stdio: "ignore" });
    await untilTemporary(at, 2);
    child.kill("SIGINT");
    await once(child, "exit");
    expect(await readdir(at.folder)).toEqual(["s.raw"]);
  });
});

// A container's root has power over its own users only: others have no number there, and nothing can be given to them.
test.runIf(isLinux && process.getuid?.() === 0)(
  "a file of somebody who is unknown here is replaced, or written in place where only he may",
  async ({ skip }) => {
    const at = await withData();
    const inContainer = ["--user", "--map-root-user", process.execPath];
    if ((await execa("unshare", [...inContainer, "--version"], { reject: false })).exitCode !== 0) {
      return skip("there are no user namespaces here");
    }
    for (const [folder, mode, warning] of [
      ["open", 0o777, /^$/],
      ["sticky", 0o1777, /no file in its folder can be replaced/],
    ] as const) {
      await mkdir(at.file(folder));
      await chown(at.file(folder), 12345, 12345);
      await chmod(at.file(folder), mode);
      await writeFile(at.file(`${folder}/t`), "old");
      await chown(at.file(`${folder}/t`), 54321, 54321);
      await chmod(at.file(`${folder}/t`), 0o666);
      const args = [...inContainer, COMMAND, "convert", "s.raw", `${folder}/t`];
      const { exitCode, stderr } = await execa("unshare", args, { cwd: at.folder, reject: false });
      expect(exitCode, stderr).toBe(0);
      expect(stderr).toMatch(warning);
      expect((await bytes(at, `${folder}/t`)).equals(DATA)).toBe(true);
      expect(await readdir(at.file(folder))).toEqual(["t"]);
    }
  },
);
