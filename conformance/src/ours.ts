/** Our command, as a user runs it: the built bin, in a process of its own. */
import { existsSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { REPOSITORY } from "./repository.ts";
import { expectSuccess, type RunOptions, runTool, type ToolResult } from "./run-tool.ts";

export const OUR_BIN: string = join(REPOSITORY, "apps/cli/bin/qcow2.cjs");

/** Runs `qcow2`; any exit code is an answer. */
export async function tryOurs(args: readonly string[], options?: RunOptions): Promise<ToolResult> {
  return await runTool([process.execPath, OUR_BIN], args, options);
}

/** Runs `qcow2`, which must succeed. */
export async function ours(args: readonly string[], options?: RunOptions): Promise<ToolResult> {
  return expectSuccess(`qcow2 ${args.join(" ")}`, await tryOurs(args, options));
}

/** The names under which our command speaks as QEMU's program of that name, in every message. */
type LinkName = "qemu-img" | "qemu-io";

const links = new Map<LinkName, string>();

/** Runs our command through a link named `qemu-img`. */
export async function tryOursAsQemuImg(args: readonly string[], options?: RunOptions): Promise<ToolResult> {
  return await runTool([process.execPath, linkNamed("qemu-img")], args, options);
}

/** Runs our command through a link named `qemu-io`. */
export async function tryOursAsQemuIo(args: readonly string[], options?: RunOptions): Promise<ToolResult> {
  return await runTool([process.execPath, linkNamed("qemu-io")], args, options);
}

function linkNamed(name: LinkName): string {
  const known = links.get(name);
  if (known !== undefined && existsSync(known)) return known;
  const folder = mkdtempSync(join(tmpdir(), "qcow2-link-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const link = join(folder, name);
  symlinkSync(OUR_BIN, link);
  links.set(name, link);
  return link;
}
