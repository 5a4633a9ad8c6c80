/** Sources that somebody changes while they are copied, whose locks do not keep him out. */
import { readdir, readFile, truncate, utimes, writeFile } from "node:fs/promises";
import { Writable } from "node:stream";
import { expect, test } from "vitest";
import { run } from "../src/run.ts";
import { COMMAND, type Workspace, workspace } from "./run-command.ts";

const BYTES = 4 * 2 ** 20;

async function withSource(): Promise<Workspace> {
  const at = await workspace();
  await writeFile(at.file("s.raw"), Buffer.alloc(BYTES, "data "));
  await utimes(at.file("s.raw"), 1, 1);
  return at;
}

/** Runs the command, and `change` when it has told of its first step, before the others. */
async function runWith(
  at: Workspace,
  args: readonly string[],
  { change, program = "qcow2" }: { readonly change: () => Promise<void>; readonly program?: string },
): Promise<{ readonly exitCode: number; readonly stderr: string }> {
  let stderr = "";
  let changed: Promise<void> | undefined;
  const stdout = new Writable({
    write(chunk: Buffer, _encoding, done) {
      if (!chunk.toString().includes("(0.00")) changed ??= change();
      done();
    },
  });
  const errors = new Writable({
    write(chunk: Buffer, _encoding, done) {
      stderr += chunk.toString();
      done();
    },
  });
  const argv = [process.execPath, COMMAND.replace(/qcow2\.cjs$/, program), ...args];
  const before = process.cwd();
  process.chdir(at.folder);
  try {
    const exitCode = await run(argv, { stdout, stderr: errors });
    await (changed ?? expect.fail("nobody was told of progress"));
    return { exitCode, stderr };
  } finally {
    process.chdir(before);
  }
}

// A rate leaves time between the steps: seconds of it, of which a file system's clock needs milliseconds.
const CONVERT = ["convert", "-p", "-r", "8M", "-f", "raw", "-O", "raw", "s.raw", "t.raw"];

test("a source that is cut off or written to meanwhile is no source", async () => {
  for (const change of [
    (at: Workspace) => truncate(at.file("s.raw"), 512),
    (at: Workspace) => utimes(at.file("s.raw"), 2, 2),
  ]) {
    const at = await withSource();
    await writeFile(at.file("t.raw"), "old");
    const outcome = await runWith(at, CONVERT, { change: () => change(at) });
    expect(outcome).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining("'s.raw' was changed by somebody else"),
    });
    expect(await readFile(at.file("t.raw"), "latin1")).toBe("old");
    expect((await readdir(at.folder)).sort()).toEqual(["s.raw", "t.raw"]);
  }
});

test("who lets others write meanwhile, and who calls qemu-img, has the copy", async () => {
  const at = await withSource();
  const change = () => utimes(at.file("s.raw"), 2, 2);
  expect(await runWith(at, [...CONVERT.slice(0, 1), "-U", ...CONVERT.slice(1)], { change })).toEqual({
    exitCode: 0,
    stderr: "",
  });
  await utimes(at.file("s.raw"), 1, 1);
  const outcome = await runWith(at, CONVERT, { change, program: "qemu-img" });
  expect(outcome).toEqual({
    exitCode: 0,
    stderr: "qemu-img: warning: 's.raw' was changed by somebody else while it was read\n",
  });
});
