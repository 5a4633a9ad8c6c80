/**
 * The threads that Node.js itself needs to read and write files. It starts them with the first request, and ends the
 * process without a word if the host does not give them.
 */
import fs from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Qcow2Error } from "@qcow2/core";
import { addressSpaceLeft, processLimits, softLimit } from "./address-space.ts";

/** A limit on the user's threads that others of the same user may reach. Hosts that mean none set thousands. */
const FEW_PROCESSES = 1024;
/** Threads that are more than enough: four for files, some for codecs. */
const ENOUGH_THREADS = 64;
/** What others took for a moment is free again by then. */
const WAIT_MS = 3000;
const ASK_AGAIN_MS = 50;
/** With less, Node.js may end the process at any moment: its heap grows in steps, and does not ask whether it can. */
const LEAST_ADDRESS_SPACE = 256 * 2 ** 20;
/** Where V8 cannot have so much for a thread of ours, it ends the process, so none is tried. */
const THREAD_ADDRESS_SPACE = 1.25 * 2 ** 30;

/**
 * For programs, at their start: where the host has few threads or little address space for this process (`ulimit -u`,
 * `ulimit -v`, a control group), has Node.js do with one thread for files, and waits some seconds for that one. Changes
 * the environment variable UV_THREADPOOL_SIZE then, unless it was set.
 * @throws Qcow2Error "unsupported" if there is none, "out-of-memory" if the address space is too small to work in
 */
export async function requireHostThreads(): Promise<void> {
  if (process.platform !== "linux") return;
  const limits = processLimits();
  const space = addressSpaceLeft(limits);
  if (space < LEAST_ADDRESS_SPACE) {
    const operation = "work in so little address space (see 'ulimit -v' and 'ulimit -d')";
    throw new Qcow2Error("out-of-memory", `Could not ${operation}: Cannot allocate memory`, { operation });
  }
  const fewThreads = hasFewThreads(limits);
  if (!fewThreads && space === Number.POSITIVE_INFINITY) return;
  process.env.UV_THREADPOOL_SIZE ??= "1";
  if (fewThreads && space >= THREAD_ADDRESS_SPACE) await waitForThread();
  // The first request, while the thread is there.
  await fs.promises.stat("/");
}

async function waitForThread(): Promise<void> {
  const { Worker } = await import("node:worker_threads");
  const end = performance.now() + WAIT_MS;
  for (;;) {
    try {
      const worker = new Worker("", { eval: true, execArgv: [], stdout: true, stderr: true });
      return await new Promise((resolve) => worker.on("error", () => {}).once("exit", () => resolve()));
    } catch (error) {
      if (performance.now() > end) {
        const message = "The host gives no thread to work with (see 'ulimit -u')";
        throw new Qcow2Error("unsupported", message, { operation: "start a thread" }, { cause: error });
      }
    }
    await sleep(ASK_AGAIN_MS);
  }
}

function hasFewThreads(limits: string): boolean {
  if (softLimit(limits, "Max processes") <= FEW_PROCESSES) return true;
  const folder = processesGroup(textOf("/proc/self/cgroup") ?? "");
  const most = textOf(`${folder}/pids.max`);
  // "max" where there is no limit.
  return most !== undefined && Number(most) - Number(textOf(`${folder}/pids.current`)) < ENOUGH_THREADS;
}

/** The folder of the control group that counts this process's threads; `cgroups` is the text of /proc/self/cgroup. */
export function processesGroup(cgroups: string): string {
  const first = /^\d+:pids:(.*)$/m.exec(cgroups)?.[1];
  if (first !== undefined) return `/sys/fs/cgroup/pids${first}`;
  return `/sys/fs/cgroup${/^0::(.*)$/m.exec(cgroups)?.[1] ?? ""}`;
}

function textOf(file: string): string | undefined {
  // Asked first: an error costs more than all the rest here, and not to be there is the rule.
  if (!fs.existsSync(file)) return undefined;
  try {
    return fs.readFileSync(file, "latin1");
  } catch {
    // Not for us: then nothing is known.
    return undefined;
  }
}
