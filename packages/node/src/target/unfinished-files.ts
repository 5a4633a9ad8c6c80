/** Files that must not outlive the process unless they are finished. */
import fs from "node:fs";
import { hostPath } from "../file/host-path.ts";

const unfinished = new Set<string>();

/** Has `path` removed when the process exits, unless it is forgotten first. */
export function rememberUnfinished(path: string): void {
  if (unfinished.size === 0) process.on("exit", removeUnfinished);
  unfinished.add(path);
}

export function forgetUnfinished(path: string): void {
  unfinished.delete(path);
  if (unfinished.size === 0) process.off("exit", removeUnfinished);
}

function removeUnfinished(): void {
  for (const path of unfinished) fs.rmSync(hostPath(path), { force: true });
}
