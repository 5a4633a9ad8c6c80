/** Our command, as a user runs it: the built bin, in a process of its own. */
import { existsSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
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

let link: string | undefined;

/** Runs our command through a link named `qemu-img`, so that it speaks as qemu-img in every message. */
export async function tryOursAsQemuImg(args: readonly string[], options?: RunOptions): Promise<ToolResult> {
  return await runTool([process.execPath, linkNamedQemuImg()], args, options);
}

function linkNamedQemuImg(): string {
  if (link !== undefined && existsSync(link)) return link;
  const folder = mkdtempSync(join(tmpdir(), "qcow2-link-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  link = join(folder, "qemu-img");
  symlinkSync(OUR_BIN, link);
  return link;
}
