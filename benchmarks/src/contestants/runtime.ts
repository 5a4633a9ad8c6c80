/** Node.js with nothing to do: the floor of every command that only answers. */
import { execa } from "execa";
import type { Contestant } from "./contestant.ts";

export async function findRuntime(node: string): Promise<Contestant> {
  const { stdout } = await execa(node, ["--version"], { stdin: "ignore" });
  const version = stdout.trim().replace(/^v/, "");
  return {
    name: `node -e 0, Node.js ${version}`,
    kind: "runtime",
    node: version,
    commandFor: (job) => (job.kind === "start" || job.kind === "info" ? [node, "-e", "0"] : undefined),
  };
}
