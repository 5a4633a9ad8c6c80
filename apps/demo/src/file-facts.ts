/** Facts about files, found without this project's own code. */
import { createHash } from "node:crypto";
import { createReadStream, statSync } from "node:fs";

/** Hash of the whole content. */
export async function sha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 20 }))
    hash.update(chunk as Uint8Array);
  return hash.digest("hex");
}

/** "512 MiB long, 87.3 MiB on disk"; hosts that do not count blocks (Windows) say only the length. */
export function sizes(path: string): string {
  const stat = statSync(path);
  const length = `${formatBytes(stat.size)} long`;
  return stat.blocks > 0 ? `${length}, ${formatBytes(stat.blocks * 512)} on disk` : length;
}

/** Binary units, three digits. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${Number(value.toPrecision(3))} ${units[unit]}`;
}
