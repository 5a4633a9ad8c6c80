/** What our command is to keep to. Data: what is measured is in measure-limits.ts. */
import type { ContestantKind } from "../contestants/contestant.ts";
import type { EngineCase } from "../engine/engine-results.ts";

/** Our median through another tool's. */
export interface TimeLimit {
  readonly kind: "time";
  readonly title: string;
  /** Of the case. */
  readonly id: string;
  /** The first contestant of this kind; of "runtime" the one with our own version of Node.js. */
  readonly against: ContestantKind;
  readonly atMost: number;
  /** What each tool takes to start, as the case "start" measures it, does not count. */
  readonly startUpAside?: true;
}

/** The engine's time through the raw file's. */
export interface EngineLimit {
  readonly kind: "engine";
  readonly title: string;
  readonly engineCase: EngineCase;
  readonly atMost: number;
}

/** The largest peak of any of our processes, in any case. */
export interface MemoryLimit {
  readonly kind: "memory";
  readonly title: string;
  /** Bytes. */
  readonly atMost: number;
}

export type Limit = TimeLimit | EngineLimit | MemoryLimit;

export const LIMITS: readonly Limit[] = [
  time("convert -c, deflate", "raw-to-deflate", 0.25),
  { ...time("convert -c, deflate", "raw-to-deflate", 0.5), against: "tuned" },
  time("convert -c, zstd", "raw-to-zstd", 0.7),
  time("deflate qcow2 to raw", "deflate-to-raw", 0.5),
  time("zstd qcow2 to raw", "zstd-to-raw", 1),
  time("full raw disk to qcow2", "full-to-qcow2", 1.1),
  time("full raw disk to qcow2, on the disk in the end", "full-to-qcow2-durable", 1.1),
  time("full qcow2 to raw", "full-to-raw", 1.1),
  time("full qcow2 to raw, on the disk in the end", "full-to-raw-durable", 1.1),
  time("compare full raw disk with qcow2", "full-compare", 1),
  { ...time("check a preallocated image", "preallocated-check", 1.5), startUpAside: true },
  { ...time("map a preallocated image", "preallocated-map", 1.5), startUpAside: true },
  { ...time("info", "info", 1.5), against: "runtime" },
  randomReads(1),
  randomReads(16),
  { kind: "memory", title: "peak memory, any case", atMost: 256 * 2 ** 20 },
];

function time(title: string, id: string, atMost: number): TimeLimit {
  return { kind: "time", title, id, against: "qemu", atMost };
}

function randomReads(depth: number): EngineLimit {
  return {
    kind: "engine",
    title: `random 4 KiB reads through the engine, depth ${depth}`,
    engineCase: { subject: "allocated", request: "read", order: "random", bytes: 4096, depth },
    atMost: 1.1,
  };
}
