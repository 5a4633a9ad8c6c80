/**
 * Our built command without a process for each call, of which the suite makes thousands. That the process behaves alike
 * is for the tests of the command itself, and for `bad-input`, `io`, `losses`, `ls` and QEMU's own scripts.
 */
import { Writable } from "node:stream";
import { loadOurBundle } from "./our-bundle.ts";
import type { ToolResult } from "./run-tool.ts";

type Run = (
  argv: readonly string[],
  streams: { readonly stdout: Writable; readonly stderr: Writable },
) => Promise<number>;

/** Calls wait for one another: each has the working directory of the whole process to itself. */
let last: Promise<unknown> = Promise.resolve();

/** As `tryOursAsQemuImg`. The working directory is that of this process, or `cwd`. */
export async function tryOursInProcess(
  args: readonly string[],
  { cwd }: { readonly cwd?: string } = {},
): Promise<ToolResult> {
  const answer = last.then(() => runInFolder(args, cwd ?? process.cwd()));
  last = answer.catch(() => undefined);
  return await answer;
}

async function runInFolder(args: readonly string[], cwd: string): Promise<ToolResult> {
  const { run } = loadOurBundle() as { readonly run: Run };
  const [stdout, stderr] = [new TextSink(), new TextSink()];
  const before = process.cwd();
  process.chdir(cwd);
  try {
    const exitCode = await run([process.execPath, "/qemu-img", ...args], { stdout, stderr });
    return { exitCode, stdout: stdout.text, stderr: stderr.text };
  } finally {
    process.chdir(before);
  }
}

class TextSink extends Writable {
  text = "";

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}
