/** Our command, as a user runs it: the built bin, in a process of its own. */
import { join } from "node:path";
import { REPOSITORY } from "./repository.ts";
import { expectSuccess, type RunOptions, runTool, type ToolResult } from "./run-tool.ts";

export const OUR_BIN: string = join(REPOSITORY, "apps/cli/bin/qcow2.js");

/** Runs `qcow2`; any exit code is an answer. */
export async function tryOurs(args: readonly string[], options?: RunOptions): Promise<ToolResult> {
  return await runTool([process.execPath, OUR_BIN], args, options);
}

/** Runs `qcow2`, which must succeed. */
export async function ours(args: readonly string[], options?: RunOptions): Promise<ToolResult> {
  return expectSuccess(`qcow2 ${args.join(" ")}`, await tryOurs(args, options));
}
