import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { expect, test, vi } from "vitest";
import { REPOSITORY } from "../src/repository.ts";

const PROGRAM = join(REPOSITORY, "benchmarks/dist/bench-main.js");
const built = existsSync(PROGRAM) && existsSync(join(REPOSITORY, "apps/cli/dist/run.cjs"));
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

test.skipIf(!built)("stopped, it leaves neither disks nor a tool at work behind", async () => {
  const folder = await mkdtemp(join(tmpdir(), "qcow2-bench-command-"));
  try {
    // A command that says that it runs, and would go on for a minute.
    const checkout = join(folder, "checkout");
    await mkdir(join(checkout, "apps/cli/dist"), { recursive: true });
    await mkdir(join(checkout, "apps/cli/bin"));
    const running = join(folder, "running");
    await writeFile(
      join(checkout, "apps/cli/bin/qcow2.cjs"),
      `require("node:fs").writeFileSync(${JSON.stringify(running)}, String(process.pid));
      setTimeout(() => undefined, 60_000);`,
    );
    const work = join(folder, "work");
    const bench = execa(
      process.execPath,
      [PROGRAM, "--cases", "start", "--qemu", "10.0", "--work", work, "--compare-with", checkout],
      { reject: false },
    );
    await vi.waitFor(() => expect(existsSync(running)).toBe(true), { timeout: 60_000 });
    const pid = Number(await readFile(running, "utf8"));
    bench.kill("SIGTERM");
    expect((await bench).exitCode).toBe(130);
    expect(await readdir(work)).toEqual([]);
    await vi.waitFor(() => expect(() => process.kill(pid, 0)).toThrow("ESRCH"), { timeout: 10_000 });
  } finally {
    await rm(folder, { recursive: true });
  }
});
