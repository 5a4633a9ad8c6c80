/** Running other programs: never through a shell, never with our standard input unless asked. */
import { spawn } from "node:child_process";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's top folder. */
export const repository = join(dirname(fileURLToPath(import.meta.url)), "../..");

/**
 * Runs a Node.js program to its end.
 * @param {string} script Path of the program, relative to the repository or absolute.
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, stdio?: import("node:child_process").StdioOptions, quiet?: boolean }} [options]
 *   `stdio` defaults to no input and both outputs on standard error, so that the output of whatever comes after stays
 *   clean. With `quiet`, what the program says is shown only if it fails.
 * @returns {Promise<number>} The exit code, or 128 + n if signal n ended it, as shells count.
 */
export function runNode(script, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script, ...args], {
      cwd: options.cwd ?? repository,
      env: options.env ?? process.env,
      stdio: options.quiet === true ? ["ignore", "pipe", "pipe"] : (options.stdio ?? ["ignore", 2, 2]),
    });
    /** @type {Uint8Array[]} */
    const said = [];
    child.stdout?.on("data", (chunk) => said.push(chunk));
    child.stderr?.on("data", (chunk) => said.push(chunk));
    // The terminal sends Ctrl-C to the child as well: it is the child that decides how to end, and we report how it did.
    const wait = () => {};
    const forward = () => child.kill("SIGTERM");
    process.on("SIGINT", wait);
    process.on("SIGTERM", forward);
    child.on("error", reject);
    child.on("close", (code, signal) => {
      process.off("SIGINT", wait);
      process.off("SIGTERM", forward);
      if (code !== 0) for (const chunk of said) process.stderr.write(chunk);
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
    });
  });
}
