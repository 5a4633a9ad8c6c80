/** How each case ends with QEMU's own programs on this machine; found out once, and kept in the cache. */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { QemuRelease } from "../qemu-release.ts";
import { QEMU_CACHE } from "../repository.ts";
import { type Outcome, runScript } from "./run-script.ts";
import { caseName, sourceVersion, type TestCase } from "./source.ts";
import type { ToolPaths } from "./tools.ts";

const FOLDER = join(QEMU_CACHE, "iotests-reference");

/** The outcome with QEMU's own programs: from the cache, or by running the script. */
export async function referenceOutcome(
  test: TestCase,
  options: { readonly release: QemuRelease; readonly tools: ToolPaths; readonly timeoutMs: number },
): Promise<Outcome> {
  const { release, tools, timeoutMs } = options;
  const folder = join(FOLDER, `${sourceVersion()}-${release.version}`);
  const file = join(folder, `${caseName(test).replace(":", "-")}.json`);
  if (existsSync(file)) return JSON.parse(readFileSync(file, "utf8")) as Outcome;
  const outcome = await runScript({ test, tools, timeoutMs });
  // A machine that was too busy says nothing about the script.
  if (outcome.kind === "timeout") return outcome;
  mkdirSync(folder, { recursive: true });
  const partial = `${file}.${process.pid}`;
  writeFileSync(partial, `${JSON.stringify(outcome)}\n`);
  renameSync(partial, file);
  return outcome;
}
