import { expect } from "vitest";
import type { QemuRelease } from "../qemu-release.ts";
import { expectSameFiles } from "../same-files.ts";
import type { Workbench } from "../workbench.ts";

export interface TwinFolders {
  readonly theirs: Workbench;
  readonly ours: Workbench;
  /** The image's name in both folders. */
  readonly image: string;
  /** False where the layout is free, so that only content and information have to be the same. Default true. */
  readonly comparesMaps?: boolean;
}

/**
 * Both images are clean, QEMU finds no difference in content, and tells the same of both: `info` without what depends on
 * where clusters are, and `map` without their offsets.
 */
export async function expectTwins(
  qemu: QemuRelease,
  { theirs, ours, image, comparesMaps = true }: TwinFolders,
): Promise<void> {
  for (const { folder: cwd } of [theirs, ours]) {
    await qemu.img(["check", "-q", image], { cwd });
    // In its own folder: names of data files are relative to the working directory.
    await qemu.img(["convert", "-O", "raw", image, `${image}.raw`], { cwd });
  }
  expectSameFiles(theirs.path(`${image}.raw`), ours.path(`${image}.raw`));
  const [actual, expected] = await Promise.all(
    [ours, theirs].map(async ({ folder }) => ({
      info: await infoOf(qemu, image, folder),
      map: comparesMaps ? await mapOf(qemu, image, folder) : undefined,
    })),
  );
  expect(actual).toEqual(expected);
}

/** `info` of an image, without file sizes and the time at which snapshots were taken. */
export async function infoOf(qemu: QemuRelease, name: string, cwd: string): Promise<unknown> {
  const { stdout } = await qemu.img(["info", "--output=json", name], { cwd });
  const depending = new Set(["actual-size", "children", "date-sec", "date-nsec"]);
  return JSON.parse(stdout, (key, value: unknown) => (depending.has(key) ? undefined : value));
}

interface MapEntry {
  readonly start: number;
  readonly length: number;
  readonly data: boolean;
  readonly offset?: number;
}

/** `map` of an image without host offsets, and without holes of the file; neighbours that differ in nothing else are one. */
async function mapOf(qemu: QemuRelease, name: string, cwd: string): Promise<MapEntry[]> {
  const { stdout } = await qemu.img(["map", "--output=json", name], { cwd });
  const joined: MapEntry[] = [];
  for (const { offset, ...found } of JSON.parse(stdout) as MapEntry[]) {
    // Where data is stored, holes of the file decide what is zero.
    const entry = offset !== undefined && found.data ? { ...found, zero: undefined } : found;
    const last = joined.at(-1);
    if (last !== undefined && kindOf(last) === kindOf(entry)) {
      joined[joined.length - 1] = { ...last, length: last.length + entry.length };
    } else joined.push(entry);
  }
  return joined;
}

function kindOf(entry: MapEntry): string {
  return JSON.stringify({ ...entry, start: 0, length: 0 });
}
