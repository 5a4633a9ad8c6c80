/** What the benchmark of the engine found, as it is written to JSON and as the report reads it. */
import type { MeasuredStorageCost } from "@qcow2/testing";
import type { Machine } from "../results.ts";

export interface EngineResults {
  readonly schema: 1;
  /** ISO 8601, UTC. */
  readonly date: string;
  readonly machine: Machine;
  /** Version of Node.js. */
  readonly node: string;
  /** Virtual bytes of both disks. */
  readonly sizeBytes: number;
  readonly seed: number;
  readonly cases: readonly EngineCaseResult[];
  readonly costs: readonly CostResult[];
}

/** What the engine's disk is, beside the raw file. */
export type Subject = "control" | "allocated" | "fresh" | "overlay";

export interface EngineCase {
  readonly subject: Subject;
  readonly request: "read" | "write";
  readonly order: "sequential" | "random";
  /** Bytes of each request. */
  readonly bytes: number;
  /** Requests under way at once. */
  readonly depth: number;
}

export interface EngineCaseResult extends EngineCase {
  /** Requests in each round. */
  readonly requests: number;
  /** For all requests of a round, on the raw file; one for each round, in order. */
  readonly rawSeconds: readonly number[];
  /** As `rawSeconds`, through the engine. */
  readonly engineSeconds: readonly number[];
}

export interface CostResult extends MeasuredStorageCost {
  readonly title: string;
}

/** What the engine may take for reads and for writes in place, as a multiple of the raw file's time. */
export const LARGEST_RATIO = 1.15;

/** True for the cases that {@link LARGEST_RATIO} is promised for. */
export function hasLimit({ subject }: EngineCase): boolean {
  return subject === "allocated";
}
