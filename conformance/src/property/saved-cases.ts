/** Cases that failed once: plain JSON, replayed in every test run. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SAVED_CASES } from "../repository.ts";

export interface SavedCase {
  /** The name of the property. */
  readonly property: string;
  /** What went wrong when it was saved. */
  readonly error: string;
  /** How it was found: seed and path for fast-check. */
  readonly seed?: number;
  readonly path?: string;
  /** As the property draws it. */
  readonly drawn: unknown;
}

/** @returns the file's path */
export function saveCase(saved: SavedCase): string {
  mkdirSync(SAVED_CASES, { recursive: true });
  const digest = createHash("sha256").update(JSON.stringify(saved.drawn)).digest("hex").slice(0, 12);
  const file = join(SAVED_CASES, `${saved.property}-${digest}.json`);
  writeFileSync(file, `${JSON.stringify(saved, undefined, 2)}\n`);
  return file;
}

/** All saved cases, with the name of each file. */
export function savedCases(): readonly { readonly file: string; readonly saved: SavedCase }[] {
  if (!existsSync(SAVED_CASES)) return [];
  return readdirSync(SAVED_CASES)
    .filter((file) => file.endsWith(".json"))
    .sort()
    .map((file) => ({ file, saved: JSON.parse(readFileSync(join(SAVED_CASES, file), "utf8")) as SavedCase }));
}
