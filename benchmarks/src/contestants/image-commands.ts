/** Our command and qemu-img: tools that take the words of qemu-img. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { findQemuReleases, type QemuRelease, REFERENCE_MINOR } from "@qcow2/conformance";
import { execa } from "execa";
import type { ImageTool } from "../inputs/input-kind.ts";
import type { CommandLine } from "../measure/measure-process.ts";
import { REPOSITORY } from "../repository.ts";
import type { Contestant, ContestantKind } from "./contestant.ts";
import { imageWords } from "./image-words.ts";

/** A contestant that can also make inputs and judge results. */
export type ImageContestant = Contestant & ImageTool;

export interface ImageCommand {
  readonly name: string;
  readonly kind: ContestantKind;
  readonly node?: string;
  readonly command: CommandLine;
  /** Why it writes no zstd; undefined if it does. */
  readonly noZstd?: string | undefined;
  /** More options for `convert -c`; with them it takes part in nothing else. */
  readonly compressOptions?: readonly string[];
}

export function imageContestant(options: ImageCommand): ImageContestant {
  const { name, kind, node, command, noZstd, compressOptions } = options;
  return {
    name,
    kind,
    node,
    command,
    commandFor: (job, places) => {
      const compression = job.kind === "convert" ? job.compression : undefined;
      if (compressOptions !== undefined && compression === undefined) return undefined;
      if (compression === "zstd" && noZstd !== undefined) return { leftOut: noZstd };
      return [...command, ...imageWords(job, places, compressOptions)];
    },
  };
}

/**
 * Our built command on a Node.js of the caller's choice.
 *
 * @param checkout another checkout of this repository, whose command is called "base"; default: this one
 * @throws RangeError if it is not built
 */
export async function findOurs(node: string, checkout?: string): Promise<ImageContestant> {
  const folder = checkout ?? REPOSITORY;
  // By its name of today, and the one of before it was bundled.
  const program = ["qcow2.cjs", "qcow2.js"]
    .map((file) => resolve(folder, "apps/cli/bin", file))
    .find((path) => existsSync(path));
  if (program === undefined || !existsSync(resolve(folder, "apps/cli/dist"))) {
    throw new RangeError(`the command of ${folder} is not built: run npm run build there`);
  }
  const probe = "console.log(process.versions.node, 'zstdCompressSync' in require('node:zlib'))";
  const { stdout } = await execa(node, ["-e", probe]);
  const [version = "", zstd] = stdout.trim().split(" ");
  return imageContestant({
    name: `qcow2${checkout === undefined ? "" : " (base)"} on Node.js ${version}`,
    kind: checkout === undefined ? "ours" : "base",
    node: version,
    command: [node, program],
    noZstd: zstd === "true" ? undefined : "this runtime cannot compress zstd (Node.js 22.15 and newer can)",
  });
}

/** What makes qemu-img compress fastest; it changes neither level nor format. */
const BEST_OPTIONS = ["-m", "8", "-W"] as const;

/**
 * qemu-img of the releases found, the one to compare with first. The newest takes part in compression a second time,
 * with its best options.
 *
 * @param wanted minor versions ("10.0"), or "all"; by default all
 */
export async function findQemuImg(wanted?: readonly string[]): Promise<readonly ImageContestant[]> {
  const releases = await findQemuReleases();
  const reference = releases.find(({ minor }) => minor === REFERENCE_MINOR) ?? releases[0];
  if (reference === undefined) return [];
  const unknown = wanted?.find(
    (minor) => minor !== "all" && !releases.some((release) => release.minor === minor),
  );
  if (unknown !== undefined) {
    throw new RangeError(`no qemu-img ${unknown}; found: ${releases.map(({ minor }) => minor).join(", ")}`);
  }
  const isWanted = ({ minor }: QemuRelease): boolean =>
    wanted === undefined || wanted.includes("all") || wanted.includes(minor);
  const others = releases.filter((release) => release !== reference && isWanted(release));
  const chosen = [reference, ...others];
  const newest = releases.find((release) => chosen.includes(release)) ?? reference;
  return [...chosen.map((release) => qemuImg(release)), qemuImg(newest, BEST_OPTIONS)];
}

function qemuImg(release: QemuRelease, compressOptions?: readonly string[]): ImageContestant {
  return imageContestant({
    name: ["qemu-img", release.version, ...(compressOptions ?? [])].join(" "),
    kind: compressOptions === undefined ? "qemu" : "tuned",
    command: release.command("qemu-img"),
    noZstd: release.hasZstd ? undefined : "built without zstd",
    ...(compressOptions === undefined ? {} : { compressOptions }),
  });
}
