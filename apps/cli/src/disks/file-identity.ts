import fs from "node:fs";

/** What tells two files apart whatever they are called. @throws the host's error if there is no such file */
export async function fileIdentity(path: string): Promise<string> {
  const { dev, ino } = await fs.promises.stat(path, { bigint: true });
  return `${dev}:${ino}`;
}
