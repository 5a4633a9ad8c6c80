/** Runs one process to its end and measures it from outside: time on the clock, processor time, peak memory. */
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";

export type CommandLine = readonly [program: string, ...args: string[]];

export interface Measurement {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  /** From just before the process is started until it has ended and closed its outputs. */
  readonly seconds: number;
  /** User and system time of the process and its threads; undefined if it cannot be had here. */
  readonly cpuSeconds: number | undefined;
  /** The largest resident set; undefined if it cannot be had here. */
  readonly peakBytes: number | undefined;
}

/** How processes are measured on this machine. */
export interface Meter {
  /** Said in the report. */
  readonly method: string;
  measure(command: CommandLine): Promise<Measurement>;
}

/**
 * GNU time where it is installed: the kernel's own account of a process, which a small program asks for. Node.js cannot
 * ask: it tells no resource usage of its children. Elsewhere only the clock is read.
 */
export async function findMeter(): Promise<Meter> {
  const program = "/usr/bin/time";
  if (existsSync(program)) {
    const version = await execa(program, ["--version"], { reject: false });
    if (/GNU/.test(version.stdout + version.stderr)) {
      return {
        method: "GNU time (the kernel's account of each process)",
        measure: (command) => measureWithTime(program, command),
      };
    }
  }
  return {
    method: "the clock only; memory is not measured, because GNU time is not installed",
    measure: async (command) => ({
      ...(await runTimed(command, { ownGroup: false })),
      cpuSeconds: undefined,
      peakBytes: undefined,
    }),
  };
}

async function measureWithTime(program: string, command: CommandLine): Promise<Measurement> {
  const folder = await mkdtemp(join(tmpdir(), "qcow2-bench-"));
  const report = join(folder, "usage");
  try {
    const words: CommandLine = [program, "--quiet", "-f", "%M %U %S", "-o", report, "--", ...command];
    const run = await runTimed(words, { ownGroup: true });
    return { ...run, ...parseUsage(await readFile(report, "utf8")) };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Reads what GNU time writes for "%M %U %S": KiB, seconds, seconds. A line about a failed program may come before. */
export function parseUsage(text: string): { readonly cpuSeconds: number; readonly peakBytes: number } {
  const match = /^(\d+) (\d+\.\d+) (\d+\.\d+)$/.exec(text.trimEnd().split("\n").at(-1) ?? "");
  if (match === null) throw new Error(`GNU time wrote '${text}'`);
  return { peakBytes: Number(match[1]) * 1024, cpuSeconds: Number(match[2]) + Number(match[3]) };
}

/**
 * @param options.ownGroup the process starts others, which are to end with us: it gets a process group, which is ended
 *   if ours exits before it does
 */
async function runTimed(
  [program, ...args]: CommandLine,
  options: { readonly ownGroup: boolean },
): Promise<Pick<Measurement, "exitCode" | "stdout" | "stderr" | "seconds">> {
  const started = process.hrtime.bigint();
  const running = execa(program, args, {
    reject: false,
    stdin: "ignore",
    env: { LC_ALL: "C", TZ: "UTC" },
    maxBuffer: 2 ** 30,
    detached: options.ownGroup,
  });
  const endGroup = (): void => {
    if (!options.ownGroup || running.pid === undefined) return;
    try {
      process.kill(-running.pid, "SIGKILL");
    } catch (error) {
      // It has ended by itself this moment.
      if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
    }
  };
  process.on("exit", endGroup);
  try {
    const result = await running;
    const seconds = Number(process.hrtime.bigint() - started) / 1e9;
    if (result.exitCode === undefined) throw new Error(result.shortMessage ?? `${program} did not run`);
    return { exitCode: result.exitCode, stdout: result.stdout, stderr: result.stderr, seconds };
  } finally {
    process.off("exit", endGroup);
  }
}
