/** The same images in two folders, of which our command works in one and QEMU's in the other. */
import { mkdirSync } from "node:fs";
import { expect } from "vitest";
import { tryOursInProcess } from "./ours-in-process.ts";
import type { QemuRelease } from "./qemu-release.ts";
import type { ToolResult } from "./run-tool.ts";
import { expectEqualAnswers } from "./same-answer.ts";
import type { Workbench } from "./workbench.ts";

export interface TwinFolders {
  readonly ours: string;
  readonly theirs: string;
}

/**
 * Calls `build` in both folders. A copy would not do: it has other holes, of which maps and allocated sizes tell.
 */
export async function twinFolders(
  bench: Workbench,
  build: (folder: string) => Promise<void>,
): Promise<TwinFolders> {
  const folders = { ours: bench.path("ours"), theirs: bench.path("theirs") };
  await Promise.all(
    [folders.theirs, folders.ours].map((folder) => {
      mkdirSync(folder);
      return build(folder);
    }),
  );
  return folders;
}

/** Runs one command line in both folders; the answers are equal, but for what the ledger's entries excuse. */
export async function expectSameAnswerInTwins(
  qemu: QemuRelease,
  { ours, theirs }: TwinFolders,
  args: readonly string[],
  ledger: readonly number[] = [],
): Promise<ToolResult> {
  const [actual, expected] = await Promise.all([
    tryOursInProcess(args, { cwd: ours }),
    qemu.tryImg(args, { cwd: theirs }),
  ]);
  expectEqualAnswers({ actual, expected, ledger, what: args.join(" ") });
  return expected;
}

export interface SameImagesOptions {
  /** Name and format of each image. */
  readonly images: Readonly<Record<string, "raw" | "qcow2">>;
  /** Which layer defines what. Default true. */
  readonly sameMaps?: boolean;
  /** Also where zeroes are marked and where they are data, and not only which layer defines what. Default true. */
  readonly sameZeroes?: boolean;
  /** Images whose files have the same length. */
  readonly sameLength?: readonly string[];
}

/** Each image has the same content and information, and the same map if wanted, in both folders, and QEMU's check finds nothing. */
export async function expectSameImages(
  qemu: QemuRelease,
  { ours, theirs }: TwinFolders,
  { images, sameMaps = true, sameZeroes = true, sameLength = [] }: SameImagesOptions,
): Promise<void> {
  await Promise.all(
    Object.entries(images).map(async ([name, format]) => {
      const pair = [`${ours}/${name}`, `${theirs}/${name}`];
      await qemu.img(["compare", "-q", "-f", format, "-F", format, ...pair]);
      if (format === "qcow2") await qemu.img(["check", "-q", name], { cwd: ours });
      const [actual, expected] = await Promise.all(
        [ours, theirs].map(async (cwd) => ({
          name,
          info: await informationOf(qemu, name, { cwd, format, withLength: sameLength.includes(name) }),
          map: format === "raw" || !sameMaps ? [] : await mapOf(qemu, name, { cwd, sameZeroes }),
        })),
      );
      expect(actual).toEqual(expected);
    }),
  );
}

interface Information {
  readonly "actual-size"?: number;
  readonly children?: readonly { readonly info: { readonly "virtual-size": number } }[];
}

async function informationOf(
  qemu: QemuRelease,
  name: string,
  options: { readonly cwd: string; readonly format: string; readonly withLength: boolean },
): Promise<object> {
  const { cwd, format, withLength } = options;
  const { stdout } = await qemu.img(["info", "-f", format, "--output=json", name], { cwd });
  return comparableInfo(stdout.replaceAll(cwd, "."), { withLength });
}

/** What `info --output=json` says, without what twins need not share: the space on the host, when snapshots were taken. */
export function comparableInfo(
  json: string,
  { withLength }: { readonly withLength: boolean },
): Record<string, unknown> {
  const { "actual-size": _size, children, ...rest } = JSON.parse(json, withoutDate) as Information;
  return withLength ? { ...rest, length: children?.[0]?.info["virtual-size"] } : rest;
}

/** Snapshots of twins were not taken at the same moment. */
function withoutDate(key: string, value: unknown): unknown {
  return key.startsWith("date-") ? 0 : value;
}

interface MapEntry {
  readonly start: number;
  readonly length: number;
  readonly depth: number;
  readonly present: boolean;
  readonly zero: boolean;
  readonly data: boolean;
}

async function mapOf(
  qemu: QemuRelease,
  name: string,
  { cwd, sameZeroes }: { readonly cwd: string; readonly sameZeroes: boolean },
): Promise<string[]> {
  const { stdout } = await qemu.img(["map", "--output=json", name], { cwd });
  return comparableMap(stdout, { sameZeroes });
}

/** What `map --output=json` says is where, without the place in the file, neighbours joined. */
export function comparableMap(json: string, { sameZeroes }: { readonly sameZeroes: boolean }): string[] {
  const joined: { start: number; end: number; what: string }[] = [];
  for (const { start, length, depth, present, zero, data } of JSON.parse(json) as MapEntry[]) {
    const what = `depth ${depth}${present ? " present" : ""}${sameZeroes ? ` zero ${zero} data ${data}` : ""}`;
    const last = joined.at(-1);
    if (last?.what === what) last.end = start + length;
    else joined.push({ start, end: start + length, what });
  }
  return joined.map(({ start, end, what }) => `${start}..${end} ${what}`);
}
