/** What a tool is asked to do, in no tool's words. */
import type { ImageFormat, InputName } from "../inputs/input-kind.ts";

export type Compression = "deflate" | "zstd";

export interface ConvertJob {
  readonly kind: "convert";
  readonly source: InputName;
  readonly to: ImageFormat;
  /** Of the clusters that a written qcow2 must have; undefined for none. */
  readonly compression?: Compression;
  /** True if the output must be on the disk when the tool ends; else it may be left to the operating system. */
  readonly durable: boolean;
}

export interface CompareJob {
  readonly kind: "compare";
  readonly first: InputName;
  readonly second: InputName;
}

/** Asks for an answer in JSON. */
export interface AnswerJob {
  readonly kind: "check" | "map" | "info";
  readonly image: InputName;
}

/** Says the tool's version: what starting costs. */
export interface StartJob {
  readonly kind: "start";
}

export type Job = ConvertJob | CompareJob | AnswerJob | StartJob;

/** The inputs that a job names. A chain's other files are not among them. */
export function inputsOf(job: Job): readonly InputName[] {
  switch (job.kind) {
    case "convert":
      return [job.source];
    case "compare":
      return [job.first, job.second];
    case "start":
      return [];
    default:
      return [job.image];
  }
}
