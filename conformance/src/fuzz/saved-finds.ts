/** Finds of the fuzzer as files: small, plain JSON, replayed in every test run once they are mended. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { FuzzCase } from "@qcow2/testing/fuzz";
import { SAVED_CASES } from "../repository.ts";

export const SAVED_FINDS: string = join(SAVED_CASES, "fuzz");

export interface SavedFind {
  readonly oracle: string;
  readonly operation: string;
  /** What went wrong when it was saved. */
  readonly error: string;
  /** Where it was drawn. */
  readonly seed: number;
  readonly index: number;
  /** The smallest case that is found for the same reason. */
  readonly drawn: FuzzCase;
}

/** @returns the file's path */
export function saveFind(find: SavedFind, folder: string = SAVED_FINDS): string {
  mkdirSync(folder, { recursive: true });
  const digest = createHash("sha256").update(JSON.stringify(find.drawn)).digest("hex").slice(0, 10);
  const name = `${find.oracle}-${find.operation}`.replaceAll(/\W+/g, "-").slice(0, 60);
  const file = join(folder, `${name}-${digest}.json`);
  writeFileSync(file, `${JSON.stringify(find, undefined, 2)}\n`);
  return file;
}

export function readFind(file: string): SavedFind {
  return JSON.parse(readFileSync(file, "utf8")) as SavedFind;
}

export function savedFinds(): readonly { readonly file: string; readonly saved: SavedFind }[] {
  if (!existsSync(SAVED_FINDS)) return [];
  return readdirSync(SAVED_FINDS)
    .filter((file) => file.endsWith(".json"))
    .sort()
    .map((file) => ({ file, saved: readFind(join(SAVED_FINDS, file)) }));
}
