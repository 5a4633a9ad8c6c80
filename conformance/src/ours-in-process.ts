/** Our built command without a process for each call: for sequences of hundreds of commands. */
import { Writable } from "node:stream";
import { loadOurBundle } from "./our-bundle.ts";
import type { ToolResult } from "./run-tool.ts";

type Run = (
  argv: readonly string[],
  streams: { readonly stdout: Writable; readonly stderr: Writable },
) => Promise<number>;

/**
 * As `tryOursAsQemuImg`. The working directory is that of this process; with `cwd` it is changed for as long as the
 * command runs, so that such calls must follow one another.
 */
export async function tryOursInProcess(
  args: readonly string[],
  { cwd }: { readonly cwd?: string } = {},
): Promise<ToolResult> {
  const { run } = loadOurBundle() as { readonly run: Run };
  const [stdout, stderr] = [new TextSink(), new TextSink()];
  const before = process.cwd();
  if (cwd !== undefined) process.chdir(cwd);
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
