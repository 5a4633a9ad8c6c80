/** GNU cp, which looks for zeroes as the converters do: the floor of every conversion without compression. */
import { execa } from "execa";
import { INPUTS } from "../inputs/all-inputs.ts";
import type { Contestant } from "./contestant.ts";

/** @returns undefined where cp is another one */
export async function findCopy(): Promise<Contestant | undefined> {
  const probe = await execa("cp", ["--version"], { reject: false, stdin: "ignore" });
  if (!probe.stdout?.includes("GNU coreutils")) return undefined;
  const version = /(\d+\.\d+)/.exec(probe.stdout)?.[1] ?? "";
  return {
    name: `cp ${version}`,
    kind: "copy",
    node: undefined,
    commandFor: (job, { inputs, output }) => {
      if (job.kind !== "convert" || job.compression !== undefined || job.durable) return undefined;
      const { content } = INPUTS[job.source];
      // A reflink would copy nothing.
      return content && ["cp", "--sparse=always", "--reflink=never", inputs[content], output];
    },
  };
}
