/** The words of qemu-img for a job. Ours gets the same ones. */
import type { ConvertJob, Job } from "../cases/jobs.ts";
import { INPUTS } from "../inputs/all-inputs.ts";
import type { InputName } from "../inputs/input-kind.ts";
import type { JobPlaces } from "./contestant.ts";

/** @param convertOptions more options for `convert` */
export function imageWords(
  job: Job,
  { inputs, output }: JobPlaces,
  convertOptions: readonly string[] = [],
): readonly string[] {
  switch (job.kind) {
    case "start":
      return ["--version"];
    case "convert":
      return [
        ...["convert", ...convertOptions, ...cacheMode(job), ...compression(job)],
        ...["-f", formatOf(job.source), "-O", job.to, inputs[job.source], output],
      ];
    case "compare":
      return [
        ...["compare", "-f", formatOf(job.first), "-F", formatOf(job.second)],
        ...[inputs[job.first], inputs[job.second]],
      ];
    default:
      return [job.kind, "--output=json", "-f", formatOf(job.image), inputs[job.image]];
  }
}

/** qemu-img's default is "unsafe": said to ours, too, so that both do the same work. */
function cacheMode({ durable }: ConvertJob): readonly string[] {
  return ["-t", durable ? "writeback" : "unsafe"];
}

function compression({ compression }: ConvertJob): readonly string[] {
  if (compression === undefined) return [];
  return compression === "deflate" ? ["-c"] : ["-c", "-o", `compression_type=${compression}`];
}

function formatOf(name: InputName): string {
  return INPUTS[name].format;
}
