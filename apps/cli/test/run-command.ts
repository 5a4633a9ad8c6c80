/** Runs the command in a folder that goes away with the test: built and as a process of its own, or within the test. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { onTestFinished } from "vitest";
import { run } from "../src/run.ts";

export const COMMAND: string = fileURLToPath(new URL("../bin/qcow2.cjs", import.meta.url));

export interface Outcome {
  readonly exitCode: number | undefined;
  readonly signal: string | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Workspace {
  readonly folder: string;
  file(name: string): string;
  /** Within the test's own process. */
  qcow2(...args: string[]): Promise<Outcome>;
  /** As a process of its own. */
  start(...args: string[]): Promise<Outcome>;
  /** As {@link qcow2}, and the test fails unless it exits with 0. */
  succeed(...args: string[]): Promise<string>;
}

export async function workspace(): Promise<Workspace> {
  const folder = await mkdtemp(path.join(tmpdir(), "qcow2-cli-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const qcow2 = (...args: string[]): Promise<Outcome> => runHere(folder, args);
  return {
    folder,
    file: (name) => path.join(folder, name),
    qcow2,
    start: (...args) => runIn(folder, args),
    succeed: async (...args) => {
      const outcome = await qcow2(...args);
      if (outcome.exitCode !== 0) throw new Error(`${args.join(" ")}: ${outcome.stderr}`);
      return outcome.stdout;
    },
  };
}

export async function runIn(
  cwd: string,
  args: readonly string[],
  command: string = COMMAND,
): Promise<Outcome> {
  const result = await execa(process.execPath, [command, ...args], {
    cwd,
    reject: false,
    stripFinalNewline: false,
  });
  return {
    exitCode: result.exitCode,
    signal: result.signal,
    stdout: result.stdout,
    stderr: result.stderr,
  };
}

/** Undefined if {@link runOnTerminal} can make a terminal here, else the reason to skip. */
export async function whyNoTerminal(): Promise<string | undefined> {
  const { stdout } = await execa("script", ["--version"], { reject: false });
  return stdout?.includes("util-linux") === true ? undefined : "there is no script(1) of util-linux here";
}

/** As a process of its own whose input and output are a terminal; stdout is all that appeared on it. */
export async function runOnTerminal(
  cwd: string,
  args: readonly string[],
  { command = COMMAND, env = {} }: { readonly command?: string; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<Outcome> {
  const words = [process.execPath, command, ...args].map((word) => `'${word.replaceAll("'", "'\\''")}'`);
  const { NO_COLOR: _, FORCE_COLOR: __, CI: ___, ...others } = process.env;
  const result = await execa("script", ["-qec", words.join(" "), "/dev/null"], {
    cwd,
    env: { ...others, TERM: "xterm-256color", ...env },
    extendEnv: false,
    reject: false,
    stripFinalNewline: false,
    stdin: "ignore",
  });
  const stdout = result.stdout.replaceAll("\r\n", "\n");
  return { exitCode: result.exitCode, signal: result.signal, stdout, stderr: result.stderr };
}

/** Runs the command within this process, which is a good deal quicker where many command lines are tried. */
export async function runHere(cwd: string, args: readonly string[]): Promise<Outcome> {
  const before = process.cwd();
  const texts = { stdout: "", stderr: "" };
  const collect = (name: keyof typeof texts): Writable =>
    new Writable({
      write(chunk: Buffer, _encoding, done) {
        texts[name] += chunk.toString();
        done();
      },
    });
  process.chdir(cwd);
  try {
    const argv = [process.execPath, COMMAND, ...args];
    const exitCode = await run(argv, { stdout: collect("stdout"), stderr: collect("stderr") });
    return { exitCode, signal: undefined, ...texts };
  } finally {
    process.chdir(before);
  }
}
