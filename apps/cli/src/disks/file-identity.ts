import fs from "node:fs";
import { hostPath } from "@qcow2/node";

/** What tells two files apart whatever they are called. @throws the host's error if there is no such file */
export async function fileIdentity(path: string): Promise<string> {
  const { dev, ino } = await fs.promises.stat(hostPath(path), { bigint: true });
  return `${dev}:${ino}`;
}
