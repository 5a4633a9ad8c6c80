/** What the engine's own suites found: saved, and replayed by every test run. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ENGINE_SUITES, type EngineCaseFailure, shapeNamed } from "@qcow2/testing";
import { SAVED_CASES } from "../repository.ts";

const SAVED_ENGINE_CASES = join(SAVED_CASES, "engine");

/** What failed once: the suite, and where in it; replayed in every test run. */
export interface SavedEngineCase {
  readonly suite: string;
  readonly shape: string;
  readonly seed: number;
  readonly runs: number;
  /** What went wrong when it was saved. */
  readonly error: string;
}

/** @returns the file's path */
export function saveEngineCase(suite: string, { message, replay }: EngineCaseFailure): string {
  mkdirSync(SAVED_ENGINE_CASES, { recursive: true });
  const saved: SavedEngineCase = { suite, ...replay, error: message };
  const file = join(
    SAVED_ENGINE_CASES,
    `${suite}-${replay.shape.replaceAll(/\W+/g, "-")}-${replay.seed}.json`,
  );
  writeFileSync(file, `${JSON.stringify(saved, undefined, 2)}\n`);
  return file;
}

export function savedEngineCases(): readonly { readonly file: string; readonly saved: SavedEngineCase }[] {
  if (!existsSync(SAVED_ENGINE_CASES)) return [];
  return readdirSync(SAVED_ENGINE_CASES)
    .sort()
    .map((file) => ({
      file,
      saved: JSON.parse(readFileSync(join(SAVED_ENGINE_CASES, file), "utf8")) as SavedEngineCase,
    }));
}

/** Draws the cases that a saved one was among again. */
export async function replayEngineCase({ suite, shape, seed, runs }: SavedEngineCase): Promise<void> {
  const found = ENGINE_SUITES.find(({ name }) => name === suite);
  if (found === undefined) throw new Error(`no suite is called '${suite}'`);
  await found.round({ seed, shapes: [shapeNamed(shape)], runs });
}
