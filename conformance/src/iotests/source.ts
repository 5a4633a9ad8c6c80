/** QEMU's test scripts, as `scripts/install-iotests.mjs` unpacks them; nothing of them is part of this repository. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { QEMU_CACHE } from "../repository.ts";

const FOLDER = join(QEMU_CACHE, "iotests-source");

/** Where the scripts lie, and where they run. */
export const SCRIPTS: string = join(FOLDER, "tests/qemu-iotests");

/** An image format that a script is run with. */
export type TestFormat = "qcow2" | "raw";

/** A script with the format that it is run with. */
export interface TestCase {
  /** The script's file name: "001", "qemu-img-close-errors". */
  readonly script: string;
  readonly format: TestFormat;
}

/** How a case is called on the command line and in the table: the script's name, with `raw:` in front for raw. */
export function caseName({ script, format }: TestCase): string {
  return format === "qcow2" ? script : `${format}:${script}`;
}

export function parseCaseName(name: string): TestCase {
  return name.startsWith("raw:")
    ? { script: name.slice("raw:".length), format: "raw" }
    : { script: name, format: "qcow2" };
}

/** The source package's version ("10.0.13+ds"), or undefined if there is none. */
export function sourceVersion(): string | undefined {
  const stamp = join(FOLDER, "source.json");
  if (!existsSync(stamp)) return undefined;
  return (JSON.parse(readFileSync(stamp, "utf8")) as { readonly version: string }).version;
}

/** All scripts, numbered ones first. */
export function listScripts(): readonly string[] {
  return [
    ...readdirSync(SCRIPTS).filter((name) => /^\d+$/.test(name)),
    ...readdirSync(join(SCRIPTS, "tests")).filter((name) => isScript(join(SCRIPTS, "tests", name))),
  ];
}

/** True if QEMU expects another output of a script for this format. */
export function hasOutputFor({ script, format }: TestCase): boolean {
  const folder = /^\d/.test(script) ? SCRIPTS : join(SCRIPTS, "tests");
  return existsSync(join(folder, `${script}.out.${format}`));
}

function isScript(path: string): boolean {
  return !path.includes(".out") && statSync(path).isFile() && (statSync(path).mode & 0o111) !== 0;
}
