/** A copy of the built engine, its suites and what they need, in which one place can be changed. */
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { REPOSITORY } from "../repository.ts";
import { runTool, type ToolResult } from "../run-tool.ts";
import type { Mutation } from "./mutations.ts";

/** The suites of which one at least has to fail. */
export const SUITES = ["model", "power-cut", "faults", "interleavings", "transactions", "repairs"] as const;

/** A broken engine may hang; that, too, is a failure of its suite. */
const SUITE_TIMEOUT_MS = 300_000;

export class MutatedEngine implements Disposable {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    const modules = join(folder, "node_modules");
    mkdirSync(join(modules, "@qcow2"), { recursive: true });
    for (const name of readdirSync(join(REPOSITORY, "node_modules"))) {
      if (name !== "@qcow2") symlinkSync(join(REPOSITORY, "node_modules", name), join(modules, name));
    }
    for (const name of ["core", "testing"]) {
      const from = join(REPOSITORY, "packages", name);
      for (const part of ["package.json", "dist"]) {
        cpSync(join(from, part), join(modules, "@qcow2", name, part), { recursive: true });
      }
    }
    cpSync(join(REPOSITORY, "packages/core/test/engine"), join(folder, "test"), { recursive: true });
    writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module", private: true }));
  }

  /** Changes one place for as long as `work` takes. */
  async with<Result>({ name, file, find, replace }: Mutation, work: () => Promise<Result>): Promise<Result> {
    const path = join(this.#folder, "node_modules/@qcow2/core/dist", file);
    const intact = readFileSync(path, "utf8");
    const parts = intact.split(find);
    if (parts.length !== 2) {
      throw new Error(`'${name}' has its place ${parts.length - 1} times in ${file}, not once: adapt it`);
    }
    writeFileSync(path, parts.join(replace));
    try {
      return await work();
    } finally {
      writeFileSync(path, intact);
    }
  }

  /** Runs one suite of the engine, up to its first failure; exit code 0 means that the engine passed. */
  runSuite(suite: (typeof SUITES)[number]): Promise<ToolResult> {
    const vitest = join(REPOSITORY, "node_modules/vitest/vitest.mjs");
    const options = ["--root", this.#folder, "--bail", "1", "--testTimeout", String(SUITE_TIMEOUT_MS)];
    return runTool([process.execPath, vitest], ["run", ...options, `test/${suite}.test.ts`], {
      cwd: this.#folder,
      timeoutMs: SUITE_TIMEOUT_MS,
      env: { QCOW2_NO_SHRINKING: "1" },
    });
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
