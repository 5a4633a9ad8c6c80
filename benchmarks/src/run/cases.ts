/** What is measured. Both tools get the same words. */

/** The source disk in the formats that cases read; all but `raw` are made by qemu-img if there is one. */
export type InputName = "raw" | "qcow2" | "deflate" | "zstd";

export type InputPaths = Readonly<Record<InputName, string>>;

export interface BenchmarkCase {
  readonly id: string;
  readonly title: string;
  /** Read into the page cache before the first run. */
  readonly reads: readonly InputName[];
  /** What the tool writes; undefined if it only answers. */
  readonly writes: "raw" | "qcow2" | undefined;
  /** The clusters that a written qcow2 must have. */
  readonly compression?: "deflate" | "zstd";
  /** @param output where to write, if the case writes */
  args(inputs: InputPaths, output: string): readonly string[];
  /** True if copying the raw file is the floor of this case. */
  readonly hasFloor?: boolean;
}

const ZSTD = "compression_type=zstd";

export const CASES: readonly BenchmarkCase[] = [
  {
    id: "raw-to-qcow2",
    title: "convert raw to qcow2",
    reads: ["raw"],
    writes: "qcow2",
    hasFloor: true,
    args: ({ raw }, output) => ["convert", "-f", "raw", "-O", "qcow2", raw, output],
  },
  {
    id: "raw-to-qcow2-writeback",
    title: "convert raw to qcow2, on the disk when the command ends (-t writeback)",
    reads: ["raw"],
    writes: "qcow2",
    args: ({ raw }, output) => ["convert", "-t", "writeback", "-f", "raw", "-O", "qcow2", raw, output],
  },
  {
    id: "qcow2-to-raw",
    title: "convert qcow2 to raw",
    reads: ["qcow2"],
    writes: "raw",
    hasFloor: true,
    args: ({ qcow2 }, output) => ["convert", "-f", "qcow2", "-O", "raw", qcow2, output],
  },
  {
    id: "raw-to-deflate",
    title: "convert raw to compressed qcow2 (-c)",
    reads: ["raw"],
    writes: "qcow2",
    compression: "deflate",
    args: ({ raw }, output) => ["convert", "-c", "-f", "raw", "-O", "qcow2", raw, output],
  },
  {
    id: "raw-to-zstd",
    title: "convert raw to compressed qcow2 (-c -o compression_type=zstd)",
    reads: ["raw"],
    writes: "qcow2",
    compression: "zstd",
    args: ({ raw }, output) => ["convert", "-c", "-o", ZSTD, "-f", "raw", "-O", "qcow2", raw, output],
  },
  {
    id: "deflate-to-raw",
    title: "convert compressed qcow2 (deflate) to raw",
    reads: ["deflate"],
    writes: "raw",
    args: ({ deflate }, output) => ["convert", "-f", "qcow2", "-O", "raw", deflate, output],
  },
  {
    id: "zstd-to-raw",
    title: "convert compressed qcow2 (zstd) to raw",
    reads: ["zstd"],
    writes: "raw",
    args: ({ zstd }, output) => ["convert", "-f", "qcow2", "-O", "raw", zstd, output],
  },
  {
    id: "compare",
    title: "compare raw with qcow2, identical",
    reads: ["raw", "qcow2"],
    writes: undefined,
    args: ({ raw, qcow2 }) => ["compare", "-f", "raw", "-F", "qcow2", raw, qcow2],
  },
  {
    id: "check",
    title: "check qcow2",
    reads: ["qcow2"],
    writes: undefined,
    args: ({ qcow2 }) => ["check", "--output=json", "-f", "qcow2", qcow2],
  },
  {
    id: "map",
    title: "map qcow2 (JSON)",
    reads: ["qcow2"],
    writes: undefined,
    args: ({ qcow2 }) => ["map", "--output=json", "-f", "qcow2", qcow2],
  },
  {
    id: "info",
    title: "info of qcow2 (JSON)",
    reads: ["qcow2"],
    writes: undefined,
    args: ({ qcow2 }) => ["info", "--output=json", "-f", "qcow2", qcow2],
  },
];

/** How inputs are made from the raw disk. */
export function inputArguments(
  name: Exclude<InputName, "raw">,
  raw: string,
  output: string,
): readonly string[] {
  const compression = { qcow2: [], deflate: ["-c"], zstd: ["-c", "-o", ZSTD] }[name];
  return ["convert", ...compression, "-f", "raw", "-O", "qcow2", raw, output];
}
