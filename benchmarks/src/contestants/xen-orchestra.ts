/** The library @xen-orchestra/qcow2, which reads and writes qcow2 without compression; see xen-orchestra-main.ts. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { execa } from "execa";
import type { ConvertJob } from "../cases/jobs.ts";
import { INPUTS } from "../inputs/all-inputs.ts";
import { REPOSITORY } from "../repository.ts";
import type { Contestant, LeftOut } from "./contestant.ts";

const PROGRAM = resolve(REPOSITORY, "benchmarks/dist/contestants/xen-orchestra-main.js");
const MANIFEST = resolve(REPOSITORY, "node_modules/@xen-orchestra/qcow2/package.json");

/** @returns undefined where it is not installed or its program is not built */
export async function findXenOrchestra(node: string): Promise<Contestant | undefined> {
  if (!existsSync(PROGRAM) || !existsSync(MANIFEST)) return undefined;
  const { version } = JSON.parse(await readFile(MANIFEST, "utf8")) as { readonly version: string };
  const runtime = (await execa(node, ["--version"], { stdin: "ignore" })).stdout.trim().replace(/^v/, "");
  return {
    name: `@xen-orchestra/qcow2 ${version} on Node.js ${runtime}`,
    kind: "library",
    node: runtime,
    commandFor: (job, { inputs, output }) => {
      if (job.kind !== "convert" || job.durable) return undefined;
      const why = whyNot(job);
      if (why !== undefined) return why;
      return [node, PROGRAM, `to-${job.to}`, inputs[job.source], output];
    },
  };
}

/** What it would do instead was read in its source: it takes compressed clusters for plain ones, for example. */
function whyNot({ source, compression, to }: ConvertJob): LeftOut | undefined {
  if (compression !== undefined) return { leftOut: "does not compress" };
  if (INPUTS[source].isCompressed === true) return { leftOut: "does not decompress" };
  if (source === "overlays") return { leftOut: "reads one image and not its backing files" };
  if (INPUTS[source].content === "empty" && to === "qcow2") {
    return { leftOut: "looks for no holes: it would read and write the whole size" };
  }
  return undefined;
}
