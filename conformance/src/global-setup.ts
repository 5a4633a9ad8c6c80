/** Around the whole test run: collects which cases ran, and prints them at the end. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setCaseLog, summariseCases } from "./case-log.ts";

export function setup(): () => void {
  const folder = mkdtempSync(join(tmpdir(), "qcow2-conformance-log-"));
  const file = join(folder, "cases.jsonl");
  setCaseLog(file);
  return () => {
    console.log(`\n${summariseCases(file)}\n`);
    rmSync(folder, { recursive: true, force: true });
  };
}
