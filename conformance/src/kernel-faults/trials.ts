/**
 * Commands under a kernel that refuses one call, or all from one on. Afterwards
 * - the exit code says that it failed, unless everything that was asked for is there, and nothing that makes it durable
 *   was refused;
 * - there is one clear line, and no talk of a fault of the program's own;
 * - every image that is changed in place holds what it did before or what it has to hold now (guest writes: sector by
 *   sector), its snapshots included, and real `qemu-img check` finds no corruption, no more than leaks;
 * - a target is what it was before, is not there, or is complete; nothing else is left beside it but a finished result that
 *   could not get its name, where the command says so;
 * - files that the command only reads are untouched.
 */
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Random } from "@qcow2/testing";
import type { QemuRelease } from "../qemu-release.ts";
import type { ToolResult } from "../run-tool.ts";
import type { FaultyCommand } from "./commands.ts";
import { type FileState, fileState, isBetween, isSameState } from "./files-state.ts";
import { type Call, countCalls, type KernelFault, runWithKernelFault } from "./strace.ts";

/** Without these nothing is durable, or has its name: no step that makes use of them may be left out. */
const NEEDED: ReadonlySet<Call> = new Set(["fdatasync", "fsync", "rename", "renameat2"]);

export class FaultyCommandTrials {
  readonly #options: TrialsOptions;
  readonly #folder: string;
  #before = new Map<string, FileState | undefined>();
  #after = new Map<string, FileState | undefined>();
  #names: readonly string[] = [];

  constructor(options: TrialsOptions) {
    this.#options = options;
    this.#folder = join(options.folder, "work");
  }

  /** Runs the command undisturbed; returns the faults that it can meet. */
  async prepare(): Promise<readonly KernelFault[]> {
    const { strace, command, folder } = this.#options;
    this.#restore();
    for (const name of this.#changed()) this.#before.set(name, await this.#state(name));
    const log = join(folder, "calls");
    const { result, counts } = await countCalls(strace, command.words, { cwd: this.#folder, log });
    if (result.exitCode !== 0)
      throw new Error(`undisturbed, it ends with ${result.exitCode}: ${result.stderr}`);
    this.#names = readdirSync(this.#folder);
    for (const name of this.#changed()) this.#after.set(name, await this.#state(name));
    const faults: KernelFault[] = [];
    for (const [call, count] of counts) {
      for (let at = 1; at <= count; at++) {
        for (const repeat of ["once", "from-then-on"] as const) {
          // Each in turn: what is done about them is the same.
          const errno = (at + (repeat === "once" ? 0 : 1)) % 2 === 0 ? "EIO" : "ENOSPC";
          faults.push({ call, at, repeat, errno });
        }
      }
    }
    return faults;
  }

  /** Throws if what comes of it is none of what may come of it. */
  async try(fault: KernelFault): Promise<void> {
    const { strace, command } = this.#options;
    this.#restore();
    const result = await runWithKernelFault(strace, fault, command.words, this.#folder);
    try {
      await this.#judge(fault, result);
    } catch (error) {
      const said = `exit code ${result.exitCode}: ${result.stderr.trim()}`;
      throw new Error(`${command.name}: ${JSON.stringify(fault)}: ${(error as Error).message} (${said})`, {
        cause: error,
      });
    }
  }

  async #judge(fault: KernelFault, { exitCode, stdout, stderr }: ToolResult): Promise<void> {
    const { command } = this.#options;
    if (exitCode !== 0 && stderr.trim() === "" && stdout.trim() === "")
      throw new Error("it failed without a word");
    if (/internal error|uncaught|\bat .*\.(cjs|js|ts):\d+/i.test(stderr))
      throw new Error("it talks of itself");
    let isComplete = true;
    for (const name of command.changes ?? []) {
      const state = await this.#state(name);
      if (state === undefined) throw new Error(`'${name}' is gone`);
      isComplete &&= isSameState(state, this.#after.get(name));
      this.#expectAllowed(name, state);
      await this.#expectNoCorruption(name);
    }
    if (command.target !== undefined) {
      const state = await this.#state(command.target);
      const isDone = isSameState(state, this.#after.get(command.target));
      isComplete &&= isDone;
      if (!isDone && !isSameState(state, this.#before.get(command.target))) {
        throw new Error(`'${command.target}' is half there`);
      }
      if (state !== undefined && command.name !== "convert to raw")
        await this.#expectNoCorruption(command.target);
    }
    if (exitCode === 0 && !isComplete) throw new Error("it says that it succeeded, and did not");
    if (exitCode === 0 && NEEDED.has(fault.call))
      throw new Error(`it says that it succeeded without a ${fault.call}`);
    const kept = await this.#keptResult(stderr);
    this.#expectOthersUntouched(exitCode, kept);
  }

  /** The file that a command says holds its result, which has to be true: it could not get its name. */
  async #keptResult(stderr: string): Promise<string | undefined> {
    const { target } = this.#options.command;
    const name = /the finished result is in '([^']+)'/.exec(stderr)?.[1];
    if (name === undefined || target === undefined) return undefined;
    if (isSameState(await this.#state(name), this.#after.get(target))) return name;
    throw new Error(`'${name}' is not the result that it is said to be`);
  }

  #expectAllowed(name: string, state: FileState): void {
    const [before, after] = [this.#before.get(name), this.#after.get(name)];
    if (isSameState(state, before) || isSameState(state, after)) return;
    const isSectorwise =
      this.#options.command.granularity === "sector" && before !== undefined && after !== undefined;
    if (isSectorwise && isBetween(state, before, after)) return;
    throw new Error(`'${name}' holds neither what it did nor what it has to`);
  }

  async #expectNoCorruption(name: string): Promise<void> {
    const { exitCode, stdout } = await this.#options.qemu.tryImg(["check", name], { cwd: this.#folder });
    // 3: leaks, which cost space and no data.
    if (exitCode !== 0 && exitCode !== 3) throw new Error(`qemu-img check of '${name}': ${stdout}`);
  }

  #expectOthersUntouched(exitCode: number, kept: string | undefined): void {
    const { files } = this.#options;
    const allowed = new Set([...readdirSync(files), ...(exitCode === 0 ? this.#names : [])]);
    if (this.#options.command.target !== undefined) allowed.add(this.#options.command.target);
    if (kept !== undefined) allowed.add(kept);
    // A second target that was finished before the first one failed stays with a name of its own.
    for (const name of this.#names) if (name.endsWith(".data")) allowed.add(name);
    const changed = new Set(this.#changed());
    for (const name of readdirSync(this.#folder)) {
      if (!allowed.has(name)) throw new Error(`'${name}' is left`);
    }
    for (const name of readdirSync(files)) {
      if (changed.has(name)) continue;
      const [is, was] = [this.#folder, files].map((folder) => readFileSync(join(folder, name)));
      if (!(is as Buffer).equals(was as Buffer))
        throw new Error(`'${name}', which is only read, was changed`);
    }
  }

  #changed(): readonly string[] {
    const { changes = [], target } = this.#options.command;
    return target === undefined ? changes : [...changes, target];
  }

  #state(name: string): Promise<FileState | undefined> {
    return fileState(this.#options.qemu, this.#folder, name);
  }

  #restore(): void {
    rmSync(this.#folder, { recursive: true, force: true });
    mkdirSync(this.#folder);
    cpSync(this.#options.files, this.#folder, { recursive: true });
  }
}

export interface TrialsOptions {
  readonly strace: readonly string[];
  readonly qemu: QemuRelease;
  readonly command: FaultyCommand;
  /** A folder with the files that the commands need; it is not changed. */
  readonly files: string;
  /** Where to work. */
  readonly folder: string;
}

/** `count` of the faults, of each call at least one as long as there are so many. */
export function sample(faults: readonly KernelFault[], count: number, seed: number): readonly KernelFault[] {
  const random = new Random(seed);
  const left = [...faults];
  const chosen: KernelFault[] = [];
  while (chosen.length < count && left.length > 0) {
    const unseen = left.filter(({ call }) => !chosen.some((other) => other.call === call));
    const next = random.pick(unseen.length > 0 ? unseen : left);
    chosen.push(next);
    left.splice(left.indexOf(next), 1);
  }
  return chosen;
}
