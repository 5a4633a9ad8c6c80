/** What is measured, in this order. Cases of the same input stand together: inputs take much space. */
import type { InputName } from "../inputs/input-kind.ts";
import type { Compression, ConvertJob, Job } from "./jobs.ts";

export interface BenchmarkCase {
  readonly id: string;
  readonly title: string;
  readonly job: Job;
}

const ON_DISK = "on the disk when the command ends (-t writeback)";

export const CASES: readonly BenchmarkCase[] = [
  { id: "start", title: "start (--version)", job: { kind: "start" } },

  { id: "raw-to-qcow2", title: "convert raw to qcow2", job: toQcow2("disk") },
  { id: "qcow2-to-raw", title: "convert qcow2 to raw", job: toRaw("disk-qcow2") },
  { id: "raw-to-deflate", title: "convert raw to compressed qcow2 (-c)", job: compressed("deflate") },
  {
    id: "raw-to-zstd",
    title: "convert raw to compressed qcow2 (-c -o compression_type=zstd)",
    job: compressed("zstd"),
  },
  { id: "deflate-to-raw", title: "convert compressed qcow2 (deflate) to raw", job: toRaw("disk-deflate") },
  {
    id: "unordered-to-raw",
    title: "convert compressed qcow2 (deflate) to raw, its clusters out of order",
    job: toRaw("disk-unordered"),
  },
  { id: "zstd-to-raw", title: "convert compressed qcow2 (zstd) to raw", job: toRaw("disk-zstd") },
  {
    id: "compare",
    title: "compare raw with qcow2, identical",
    job: { kind: "compare", first: "disk", second: "disk-qcow2" },
  },
  { id: "check", title: "check qcow2", job: { kind: "check", image: "disk-qcow2" } },
  { id: "map", title: "map qcow2 (JSON)", job: { kind: "map", image: "disk-qcow2" } },
  { id: "info", title: "info of qcow2 (JSON)", job: { kind: "info", image: "disk-qcow2" } },

  { id: "fragmented-to-raw", title: "convert fragmented qcow2 to raw", job: toRaw("fragmented") },
  { id: "fragmented-check", title: "check fragmented qcow2", job: { kind: "check", image: "fragmented" } },
  { id: "fragmented-map", title: "map fragmented qcow2", job: { kind: "map", image: "fragmented" } },

  { id: "overlays-to-raw", title: "convert a chain of ten overlays to raw", job: toRaw("overlays") },
  { id: "overlays-map", title: "map a chain of ten overlays", job: { kind: "map", image: "overlays" } },

  { id: "empty-to-qcow2", title: "convert an empty raw disk to qcow2", job: toQcow2("empty") },
  { id: "empty-to-raw", title: "convert an empty qcow2 to raw", job: toRaw("empty-qcow2") },
  {
    id: "empty-compare",
    title: "compare an empty raw disk with an empty qcow2",
    job: { kind: "compare", first: "empty", second: "empty-qcow2" },
  },
  { id: "empty-check", title: "check an empty qcow2", job: { kind: "check", image: "empty-qcow2" } },
  { id: "empty-map", title: "map an empty qcow2", job: { kind: "map", image: "empty-qcow2" } },

  {
    id: "preallocated-check",
    title: "check a large image with preallocated metadata",
    job: { kind: "check", image: "preallocated" },
  },
  {
    id: "preallocated-map",
    title: "map a large image with preallocated metadata",
    job: { kind: "map", image: "preallocated" },
  },

  { id: "full-to-qcow2", title: "convert a full raw disk to qcow2", job: toQcow2("full") },
  {
    id: "full-to-qcow2-durable",
    title: `convert a full raw disk to qcow2, ${ON_DISK}`,
    job: durable(toQcow2("full")),
  },
  { id: "full-to-raw", title: "convert a full qcow2 to raw", job: toRaw("full-qcow2") },
  {
    id: "full-to-raw-durable",
    title: `convert a full qcow2 to raw, ${ON_DISK}`,
    job: durable(toRaw("full-qcow2")),
  },
  {
    id: "full-compare",
    title: "compare a full raw disk with qcow2, identical",
    job: { kind: "compare", first: "full", second: "full-qcow2" },
  },
];

function toQcow2(source: InputName): ConvertJob {
  return { kind: "convert", source, to: "qcow2", durable: false };
}

function toRaw(source: InputName): ConvertJob {
  return { kind: "convert", source, to: "raw", durable: false };
}

function compressed(compression: Compression): ConvertJob {
  return { ...toQcow2("disk"), compression };
}

function durable(job: ConvertJob): ConvertJob {
  return { ...job, durable: true };
}

/** @throws RangeError for an id that no case has */
export function chooseCases(wanted: readonly string[] | undefined): readonly BenchmarkCase[] {
  if (wanted === undefined) return CASES;
  const unknown = wanted.find((id) => !CASES.some((benchmark) => benchmark.id === id));
  if (unknown !== undefined) {
    throw new RangeError(`no case '${unknown}'; there are ${CASES.map(({ id }) => id).join(", ")}`);
  }
  return CASES.filter(({ id }) => wanted.includes(id));
}
