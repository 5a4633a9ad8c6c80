/** One vitest run for the whole repository: a project per workspace, each named for its folder. */
import { existsSync, readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { defineConfig } from "vitest/config";
import { LongestFirst } from "./scripts/lib/longest-first.ts";

const here = import.meta.dirname;
const workspaces = ["packages", "apps"]
  .flatMap((parent) => readdirSync(join(here, parent)).map((name) => `${parent}/${name}`))
  .concat("conformance", "benchmarks", "scripts")
  .filter((folder) => existsSync(join(here, folder, "test")));

/** Projects that start processes and write real disk images get more time than unit tests do. */
const SLOW = new Set(["packages/packaging", "apps/cli", "apps/demo", "conformance", "benchmarks", "scripts"]);

/** What runs once around a project's tests, where there is such a thing. */
const GLOBAL_SETUP: Readonly<Record<string, string>> = {
  "packages/packaging": "test/consumer-setup.ts",
  conformance: "src/global-setup.ts",
};

export default defineConfig({
  test: {
    // vitest leaves a processor to itself; most tests here wait for the processes that they start.
    maxWorkers: availableParallelism(),
    sequence: { sequencer: LongestFirst },
    projects: workspaces.map((folder) => ({
      test: {
        name: folder,
        root: join(here, folder),
        include: ["test/**/*.test.ts"],
        testTimeout: SLOW.has(folder) ? 120_000 : 20_000,
        hookTimeout: SLOW.has(folder) ? 240_000 : 20_000,
        globalSetup: GLOBAL_SETUP[folder] ?? [],
        setupFiles: [join(here, "packages/testing/src/property-seed.ts")],
      },
    })),
  },
});
