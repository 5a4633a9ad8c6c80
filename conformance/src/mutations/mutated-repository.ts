/** A copy of the packages with their tests, in which one place of the sources can be changed. */
import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { REPOSITORY } from "../repository.ts";
import { expectSuccess, runTool, type ToolResult } from "../run-tool.ts";
import type { Mutation } from "./mutation.ts";
import type { Suite } from "./suites.ts";

const PACKAGES = ["core", "testing", "node", "convert"] as const;
/** A broken engine may hang; that, too, is a failure of its suite. Long, because other work may hold a suite up. */
const SUITE_TIMEOUT_MS = 1_200_000;
/** One that never gives way is ended by the time that it computes, which does not depend on other work. */
const CPU_SECONDS = 240;
const LIMITED: readonly [] | [string, string] =
  spawnSync("prlimit", ["--version"]).status === 0 ? ["prlimit", `--cpu=${CPU_SECONDS}`] : [];

const CONFIG = `export default { test: {
  setupFiles: ["packages/testing/src/property-seed.ts"],
  testTimeout: ${SUITE_TIMEOUT_MS}, hookTimeout: ${SUITE_TIMEOUT_MS},
} };
`;

export class MutatedRepository implements Disposable {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    const modules = join(folder, "node_modules");
    mkdirSync(join(modules, "@qcow2"), { recursive: true });
    for (const name of readdirSync(join(REPOSITORY, "node_modules"))) {
      if (name !== "@qcow2") symlinkSync(join(REPOSITORY, "node_modules", name), join(modules, name));
    }
    for (const name of readdirSync(join(REPOSITORY, "node_modules/@qcow2"))) {
      const isCopied = PACKAGES.some((copied) => copied === name);
      if (!isCopied)
        symlinkSync(join(REPOSITORY, "node_modules/@qcow2", name), join(modules, "@qcow2", name));
    }
    for (const name of PACKAGES) {
      const [from, to] = [join(REPOSITORY, "packages", name), join(folder, "packages", name)];
      for (const part of ["package.json", "tsconfig.json", "tsconfig.build.json", "src", "test"]) {
        if (existsSync(join(from, part))) cpSync(join(from, part), join(to, part), { recursive: true });
      }
      if (existsSync(join(from, "node_modules")))
        symlinkSync(join(from, "node_modules"), join(to, "node_modules"));
      symlinkSync(to, join(modules, "@qcow2", name));
    }
    cpSync(join(REPOSITORY, "tsconfig.base.json"), join(folder, "tsconfig.base.json"));
    writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module", private: true }));
    writeFileSync(join(folder, "vitest.config.mjs"), CONFIG);
    cpSync(join(REPOSITORY, "conformance/dist/mutations/first-look.js"), join(folder, "first-look.js"));
  }

  /** Compiles the intact sources. */
  async build(): Promise<void> {
    for (const name of PACKAGES) await this.#compile(name);
  }

  /** Changes one place of the sources for as long as `work` takes. */
  async with<Result>({ name, file, find, replace }: Mutation, work: () => Promise<Result>): Promise<Result> {
    const path = join(this.#folder, file);
    const intact = readFileSync(path, "utf8");
    const parts = intact.split(find);
    if (parts.length !== 2) {
      throw new Error(`'${name}' has its place ${parts.length - 1} times in ${file}, not once: adapt it`);
    }
    const compiled = join(this.#folder, file.replace("/src/", "/dist/").replace(/\.ts$/, ".js"));
    const intactCompiled = readFileSync(compiled);
    writeFileSync(path, parts.join(replace));
    try {
      await this.#compile(file.split("/")[1] as string);
      return await work();
    } finally {
      writeFileSync(path, intact);
      writeFileSync(compiled, intactCompiled);
    }
  }

  /** Runs the engine's suites without a test runner, the named one first, on the named shape; see `first-look.ts`. */
  firstLook(suite: string, shape = "", extent: "all" | "alone" = "all"): Promise<ToolResult> {
    return runTool(
      [...LIMITED, process.execPath],
      [join(this.#folder, "first-look.js"), suite, shape, extent],
      {
        cwd: this.#folder,
        timeoutMs: SUITE_TIMEOUT_MS,
        env: { QCOW2_NO_SHRINKING: "1" },
      },
    );
  }

  /** Runs one suite, up to its first failure; exit code 0 means that everything passed. */
  runSuite({ paths, exclude = [] }: Suite): Promise<ToolResult> {
    const vitest = join(REPOSITORY, "node_modules/vitest/vitest.mjs");
    const options = ["--root", this.#folder, "--bail", "1", "--maxWorkers", "1"];
    const excluded = exclude.flatMap((path) => ["--exclude", path]);
    return runTool([...LIMITED, process.execPath, vitest], ["run", ...options, ...excluded, ...paths], {
      cwd: this.#folder,
      timeoutMs: SUITE_TIMEOUT_MS,
      env: { QCOW2_NO_SHRINKING: "1" },
    });
  }

  /** Types are erased and not looked at: a mistake may be one of types as well. */
  async #compile(name: string): Promise<void> {
    const tsc = join(REPOSITORY, "node_modules/typescript/bin/tsc");
    const options = ["--noCheck", "--declaration", "false", "--isolatedDeclarations", "false"];
    const project = join(this.#folder, "packages", name, "tsconfig.build.json");
    expectSuccess(
      `compiling ${name}`,
      await runTool([process.execPath, tsc], ["-p", project, ...options], { cwd: this.#folder }),
    );
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
