/** What a benchmark found, as it is written to JSON and as the report reads it. */

export interface BenchmarkResults {
  readonly schema: 1;
  /** ISO 8601, UTC. */
  readonly date: string;
  /** Runs of each tool for each case. */
  readonly runs: number;
  readonly machine: Machine;
  readonly disk: DiskDescription;
  /** How times and memory were measured. */
  readonly meter: string;
  /** The tool that judged the results. */
  readonly judge: string;
  readonly cases: readonly CaseResult[];
}

export interface Machine {
  readonly processor: string;
  readonly processors: number;
  readonly memoryBytes: number;
  readonly system: string;
  /** Of the folder where disks are read and written. */
  readonly fileSystem: string;
  /** Load average over the minute before the benchmark; undefined where there is none. */
  readonly loadBefore: number | undefined;
}

export interface DiskDescription {
  /** "generated (recipe 1, seed 1)" or the file's name. */
  readonly what: string;
  readonly sizeBytes: number;
  readonly allocatedBytes: number;
}

export interface CaseResult {
  readonly id: string;
  readonly title: string;
  readonly tools: readonly ToolResult[];
  /** Why tools did not take part: "qcow2 on Node.js 20.20.2: ...". */
  readonly leftOut: readonly string[];
}

export interface ToolResult {
  readonly name: string;
  readonly kind: "ours" | "qemu" | "copy";
  /** One for each run, in order. */
  readonly seconds: readonly number[];
  /** As `seconds`; empty if not measured. */
  readonly cpuSeconds: readonly number[];
  /** As `seconds`; empty if not measured. */
  readonly peakBytes: readonly number[];
  /** What the output takes on the disk, of the last run. */
  readonly outputBytes: number | undefined;
}
