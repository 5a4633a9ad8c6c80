/** Runs the installed `qcow2` command, as a user would, and measures it. */
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const BIN = join(dirname(createRequire(import.meta.url).resolve("qcow2/package.json")), "bin/qcow2.cjs");

export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly seconds: number;
}

/** Runs `qcow2` with these arguments in `folder`; what it says on standard error is shown as it comes. */
export function runQcow2(args: readonly string[], folder: string): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const child = spawn(process.execPath, [BIN, ...args], {
      cwd: folder,
      stdio: ["ignore", "pipe", "inherit"],
    });
    let stdout = "";
    child.stdout.setEncoding("utf8");
    child.stdout.on("data", (text: string) => {
      stdout += text;
    });
    child.on("error", reject);
    child.on("close", (code) => {
      resolve({ exitCode: code ?? 1, stdout, seconds: (performance.now() - started) / 1000 });
    });
  });
}
