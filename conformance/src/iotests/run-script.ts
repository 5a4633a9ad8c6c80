/** Runs one of QEMU's test scripts with given programs, and says how it ended. */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SCRIPTS, type TestCase } from "./source.ts";
import { ASKED_FOR_VARIABLE, type ToolPaths } from "./tools.ts";

export type Outcome =
  | { readonly kind: "pass" }
  /** `log` is what the script's runner printed, with the differences between what was expected and what came. */
  | { readonly kind: "fail"; readonly log: string }
  | { readonly kind: "timeout"; readonly log: string }
  /** The script itself says that it does not apply. */
  | { readonly kind: "not-run"; readonly reason: string }
  /** A stand-in was called. */
  | { readonly kind: "needs"; readonly programs: readonly string[] };

export interface RunScriptOptions {
  readonly test: TestCase;
  readonly tools: ToolPaths;
  readonly timeoutMs: number;
}

const POLL_MS = 250;

export async function runScript({ test, tools, timeoutMs }: RunScriptOptions): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), "iot-"));
  try {
    const askedFor = join(folder, "asked-for");
    const log = await runCheck({ test, tools, folder, askedFor, timeoutMs });
    const programs = calledStandIns(askedFor);
    if (programs.length > 0) return { kind: "needs", programs };
    if (log === undefined) return { kind: "timeout", log: `did not end within ${timeoutMs / 1000} s\n` };
    const own = join(folder, "scratch", `${test.format}-file-${test.script}`);
    const notRun = join(own, `${test.script}.notrun`);
    if (existsSync(notRun)) return { kind: "not-run", reason: readFileSync(notRun, "utf8").trim() };
    if (new RegExp(`^ok ${test.format} ${test.script}$`, "m").test(log)) return { kind: "pass" };
    return { kind: "fail", log };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

interface CheckOptions extends RunScriptOptions {
  readonly folder: string;
  readonly askedFor: string;
}

/** Everything that the scripts' own runner printed, or undefined if it did not end in time. */
function runCheck({ test, tools, folder, askedFor, timeoutMs }: CheckOptions): Promise<string | undefined> {
  const directories = { TEST_DIR: join(folder, "scratch"), SOCK_DIR: join(folder, "sock") };
  for (const directory of Object.values(directories)) mkdirSync(directory);
  return new Promise((resolve, reject) => {
    const child = spawn(join(SCRIPTS, "check"), ["-tap", `-${test.format}`, test.script], {
      cwd: SCRIPTS,
      // A group of its own, so that a script that hangs can be ended with everything that it started.
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...plainEnvironment(), ...tools, ...directories, [ASKED_FOR_VARIABLE]: askedFor },
    });
    let log = "";
    let ended = false;
    const stop = (): void => {
      if (ended) return;
      ended = true;
      endGroup(child.pid);
    };
    const timer = setTimeout(stop, timeoutMs);
    // A script that has asked for a program that it is not given has nothing more to tell.
    const poll = setInterval(() => {
      if (existsSync(askedFor)) stop();
    }, POLL_MS);
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        log += text;
      });
    }
    child.on("error", reject);
    child.on("close", () => {
      clearTimeout(timer);
      clearInterval(poll);
      resolve(ended ? undefined : log);
      // What a script left running in the background would otherwise outlive it.
      if (!ended) endGroup(child.pid);
    });
  });
}

/** What the user's shell is set to must not change what scripts print. */
function plainEnvironment(): NodeJS.ProcessEnv {
  const { PATH, HOME, USER } = process.env;
  return { PATH, HOME, USER, LANG: "C.UTF-8", TZ: "UTC" };
}

function endGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    // ESRCH: everything in the group has ended by itself.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

function calledStandIns(askedFor: string): readonly string[] {
  if (!existsSync(askedFor)) return [];
  const names = readFileSync(askedFor, "utf8").split("\n");
  return [...new Set(names.filter((name) => name !== ""))].sort();
}
