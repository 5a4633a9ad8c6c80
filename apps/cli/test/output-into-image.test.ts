/** Images that are the command's own output: nothing is printed into them. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { open, readFile, writeFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { COMMAND, type Workspace, workspace } from "./run-command.ts";

const DATA = Buffer.alloc(2 ** 20, "data ");

async function withImages(): Promise<Workspace> {
  const at = await workspace();
  await writeFile(at.file("s.raw"), DATA);
  await at.succeed("convert", "-f", "raw", "-O", "qcow2", "s.raw", "a.qcow2");
  return at;
}

/** Runs the command with `name` open as stdout, written from its start, and nothing cut off. */
async function runInto(at: Workspace, name: string, args: readonly string[]): Promise<void> {
  await using file = await open(at.file(name), "r+");
  const child = spawn(process.execPath, [COMMAND, ...args], {
    cwd: at.folder,
    stdio: ["ignore", file.fd, "ignore"],
  });
  expect(await once(child, "close"), args.join(" ")).toEqual([0, null]);
}

describe.runIf(process.platform === "linux")("an image that is the command's own output", () => {
  test("is the copy, and not what is told of it", async () => {
    const at = await withImages();
    await writeFile(at.file("t.raw"), "");
    await runInto(at, "t.raw", ["convert", "-p", "a.qcow2", "/dev/stdout"]);
    expect((await readFile(at.file("t.raw"))).equals(DATA)).toBe(true);
  });

  test.each<readonly string[]>([
    ["resize", "-f", "qcow2", "/dev/stdout", "+1M"],
    ["amend", "-p", "-o", "lazy_refcounts=on", "/dev/stdout"],
    ["check", "-r", "all", "/dev/stdout"],
    ["io", "-c", "write -P 100 0 1", "/dev/stdout"],
  ])("is still one after %s", async (...args) => {
    const at = await withImages();
    await runInto(at, "a.qcow2", args);
    await at.succeed("check", "a.qcow2");
    await at.succeed("convert", "-O", "raw", "a.qcow2", "back.raw");
    expect((await readFile(at.file("back.raw"))).subarray(0, DATA.length).equals(DATA)).toBe(true);
  });
});
