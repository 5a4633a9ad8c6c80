import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { expect, test } from "vitest";
import { REPOSITORY } from "../src/repository.ts";

const PROGRAM = join(REPOSITORY, "benchmarks/dist/bench-main.js");
const built = existsSync(PROGRAM) && existsSync(join(REPOSITORY, "apps/cli/dist/main.js"));
const name = "a small run, beside a checkout: tables, limits, a summary, results, and nothing left behind";

test.skipIf(!built)(`${name}${built ? "" : " (left out: this workspace is not built)"}`, async () => {
  const folder = await mkdtemp(join(tmpdir(), "qcow2-bench-command-"));
  try {
    const summary = join(folder, "summary.md");
    await writeFile(summary, "# Before\n");
    const { stdout, stderr } = await execa(process.execPath, [
      ...[PROGRAM, "--quick", "--runs", "1", "--cases", "start,preallocated-check,empty-to-qcow2"],
      ...["--sparse", "1G", "--preallocated", "64M", "--work", folder],
      ...["--compare-with", REPOSITORY, "--summary", summary],
    ]);
    expect(stderr).toContain("preallocated-check, run 1: qcow2 (base) on Node.js");
    expect(stdout).toMatch(/^check a preallocated image +qcow2 on Node\.js .* (met|missed|too short)/m);
    expect(stdout).toMatch(/^peak memory, any case .* met /m);
    expect(stdout).toContain("Results: ");
    const results: unknown = JSON.parse(await readFile(join(folder, "results.json"), "utf8"));
    expect(results).toMatchObject({ schema: 2, runs: 1, cases: [{ id: "start" }, {}, {}] });
    expect(await readFile(summary, "utf8")).toMatch(
      /^# Before\n## This change beside its base\n\n3 comparisons/,
    );
    expect((await readdir(folder)).sort()).toEqual(["results.json", "summary.md"]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
