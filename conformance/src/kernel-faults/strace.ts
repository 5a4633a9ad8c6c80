/** Runs our command while the kernel refuses one of its system calls, or all from one on. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { OUR_BIN } from "../ours.ts";
import { QEMU_CACHE } from "../repository.ts";
import { runTool, type ToolResult } from "../run-tool.ts";

/** What makes files other than they were, or durable; `openat` and `pread64` would also break Node.js's own start. */
export const CALLS = [
  "pwrite64",
  "pwritev",
  "fdatasync",
  "fsync",
  "fallocate",
  "ftruncate",
  "copy_file_range",
  "rename",
  "renameat2",
  "link",
  "linkat",
] as const;
export type Call = (typeof CALLS)[number];

export interface KernelFault {
  readonly call: Call;
  /** Which of these calls, counted from 1 on in each thread. */
  readonly at: number;
  readonly repeat: "once" | "from-then-on";
  readonly errno: "EIO" | "ENOSPC";
}

/** The program and its fixed arguments; undefined where there is none that may trace. */
export function findStrace(): readonly string[] | undefined {
  if (process.platform !== "linux") return undefined;
  const unpacked = join(QEMU_CACHE, "strace");
  const program = existsSync(join(unpacked, "usr/bin/strace"))
    ? [
        "env",
        `LD_LIBRARY_PATH=${join(unpacked, "usr/lib", `${machine()}-linux-gnu`)}`,
        join(unpacked, "usr/bin/strace"),
        "-E",
        "LD_LIBRARY_PATH",
      ]
    : ["strace"];
  const [command = "", ...args] = program;
  const tried = spawnSync(command, [...args, "-f", "--seccomp-bpf", "-o", "/dev/null", "true"]);
  return tried.status === 0 ? program : undefined;
}

function machine(): string {
  return process.arch === "arm64" ? "aarch64" : "x86_64";
}

/** The calls that `qcow2` makes with these words, each thread's own count; the highest of a call is how many there are. */
export async function countCalls(
  strace: readonly string[],
  words: readonly string[],
  { cwd, log }: { readonly cwd: string; readonly log: string },
): Promise<{ readonly result: ToolResult; readonly counts: ReadonlyMap<Call, number> }> {
  const result = await runTraced(strace, ["-o", log], words, cwd);
  const perThread = new Map<string, number>();
  const counts = new Map<Call, number>();
  for (const [, thread = "", call = ""] of readFileSync(log, "utf8").matchAll(/^(\d+) +(\w+)\(/gm)) {
    const key = `${thread} ${call}`;
    const count = (perThread.get(key) ?? 0) + 1;
    perThread.set(key, count);
    counts.set(call as Call, Math.max(counts.get(call as Call) ?? 0, count));
  }
  return { result, counts };
}

export async function runWithKernelFault(
  strace: readonly string[],
  { call, at, repeat, errno }: KernelFault,
  words: readonly string[],
  cwd: string,
): Promise<ToolResult> {
  const when = repeat === "once" ? String(at) : `${at}+`;
  return await runTraced(
    strace,
    ["-o", "/dev/null", "-e", `inject=${call}:error=${errno}:when=${when}`],
    words,
    cwd,
  );
}

async function runTraced(
  [program = "strace", ...fixed]: readonly string[],
  options: readonly string[],
  words: readonly string[],
  cwd: string,
): Promise<ToolResult> {
  const traced = [
    "-f",
    "-qq",
    "--seccomp-bpf",
    "-e",
    `trace=${CALLS.join(",")}`,
    "-e",
    "signal=none",
    ...options,
  ];
  return await runTool([program, ...fixed, ...traced, process.execPath], [OUR_BIN, ...words], {
    cwd,
    // One thread for files, so that its calls have one order.
    env: { UV_THREADPOOL_SIZE: "1" },
  });
}
