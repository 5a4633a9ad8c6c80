/** Runs the built command as a process of its own, in a folder that goes away with the test. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { onTestFinished } from "vitest";

export const COMMAND: string = fileURLToPath(new URL("../bin/qcow2.js", import.meta.url));

export interface Outcome {
  readonly exitCode: number | undefined;
  readonly signal: string | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Workspace {
  readonly folder: string;
  file(name: string): string;
  qcow2(...args: string[]): Promise<Outcome>;
  /** As {@link qcow2}, and the test fails unless it exits with 0. */
  succeed(...args: string[]): Promise<string>;
}

export async function workspace(): Promise<Workspace> {
  const folder = await mkdtemp(path.join(tmpdir(), "qcow2-cli-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const qcow2 = (...args: string[]): Promise<Outcome> => runIn(folder, args);
  return {
    folder,
    file: (name) => path.join(folder, name),
    qcow2,
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
