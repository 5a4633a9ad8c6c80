/** A tool that runs beside the others. */
import type { Job } from "../cases/jobs.ts";
import type { InputPaths } from "../inputs/input-kind.ts";
import type { CommandLine } from "../measure/measure-process.ts";

/**
 * ours: our command. base: our command as another checkout has it. qemu: qemu-img as it is. tuned: qemu-img with its
 * best options. copy: a copy of the raw file. library: another library. runtime: Node.js with nothing to do.
 */
export type ContestantKind = "ours" | "base" | "qemu" | "tuned" | "copy" | "library" | "runtime";

export interface JobPlaces {
  readonly inputs: InputPaths;
  /** Where to write, if the job writes. */
  readonly output: string;
}

/** Why a tool has no part in a case, for the report: "this runtime cannot compress zstd". */
export interface LeftOut {
  readonly leftOut: string;
}

export interface Contestant {
  /** As tables call it: "qcow2 on Node.js 20.20.2", "qemu-img 10.0.13", "cp 9.1". */
  readonly name: string;
  readonly kind: ContestantKind;
  /** Version of Node.js that it runs on; undefined if it does not. */
  readonly node: string | undefined;
  /** The command line for a job; undefined if nobody would expect the tool to do it. */
  commandFor(job: Job, places: JobPlaces): CommandLine | LeftOut | undefined;
}

export function isCommand(command: CommandLine | LeftOut | undefined): command is CommandLine {
  return Array.isArray(command);
}
