import { execFile } from "node:child_process";
import { join } from "node:path";
import { expect, it } from "vitest";
import { repository } from "../lib/run.mjs";

const START = join(repository, "scripts/start.mjs");

/** `npm start -- ...args`, called from `folder`. */
function start(args: readonly string[], folder: string) {
  return new Promise<{ exitCode: number; stdout: string; stderr: string }>((resolve) => {
    const env = { ...process.env, INIT_CWD: folder };
    const child = execFile(process.execPath, [START, ...args], { env }, (_, stdout, stderr) => {
      resolve({ exitCode: child.exitCode ?? -1, stdout, stderr });
    });
    child.stdin?.end();
  });
}

it("runs the command with the arguments, where the caller was, and passes its exit code on", async () => {
  const found = await start(["info", "--output=json", "start.test.ts"], import.meta.dirname);
  expect(found.exitCode).toBe(0);
  expect(JSON.parse(found.stdout)).toMatchObject({ filename: "start.test.ts", format: "raw" });

  const absent = await start(["info", "start.test.ts"], repository);
  expect(absent).toMatchObject({ exitCode: 1, stdout: "" });
  expect(absent.stderr).toContain("start.test.ts");
});
