/** The tools that run side by side. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { findQemuReleases, type QemuRelease, REFERENCE_MINOR } from "@qcow2/conformance";
import { execa } from "execa";
import type { CommandLine } from "../measure/measure-process.ts";

export interface Contestant {
  /** As tables call it: "qcow2 on Node.js 20.20.2", "qemu-img 10.0.13", "cp". */
  readonly name: string;
  readonly kind: "ours" | "qemu" | "copy";
  /** The command line up to the arguments of a case. */
  readonly command: CommandLine;
  /** Ours can write zstd only where the runtime can. */
  readonly writesZstd: boolean;
}

/** The repository's top folder; this file is in benchmarks/src/run or benchmarks/dist/run. */
export const REPOSITORY: string = resolve(import.meta.dirname, "../../..");

const OUR_BIN = resolve(REPOSITORY, "apps/cli/bin/qcow2.js");

/** Our built command on a Node.js of the caller's choice. */
export async function findOurs(node: string): Promise<Contestant> {
  if (!existsSync(OUR_BIN)) throw new Error("the command is not built: run npm run build");
  const probe = "console.log(process.versions.node, 'zstdCompressSync' in require('node:zlib'))";
  const { stdout } = await execa(node, ["-e", probe]);
  const [version, zstd] = stdout.trim().split(" ");
  return {
    name: `qcow2 on Node.js ${version}`,
    kind: "ours",
    command: [node, OUR_BIN],
    writesZstd: zstd === "true",
  };
}

/**
 * qemu-img of the releases found, the one to compare with first.
 *
 * @param wanted minor versions ("10.0"), or "all"; by default the reference release and the newest
 */
export async function findQemuImg(wanted: readonly string[] | undefined): Promise<readonly Contestant[]> {
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
    wanted === undefined ? minor === releases[0]?.minor : wanted.includes("all") || wanted.includes(minor);
  const others = releases.filter((release) => release !== reference && isWanted(release));
  return [reference, ...others].map((release) => ({
    name: `qemu-img ${release.version}`,
    kind: "qemu",
    command: release.command("qemu-img"),
    // Since 5.1; older ones than 5.2 are not found.
    writesZstd: true,
  }));
}

/** GNU cp, which looks for zeroes as qemu-img does: the floor of every conversion without compression. */
export async function findCopy(): Promise<Contestant | undefined> {
  const probe = await execa("cp", ["--version"], { reject: false, stdin: "ignore" });
  if (!probe.stdout?.includes("GNU coreutils")) return undefined;
  const version = /(\d+\.\d+)/.exec(probe.stdout)?.[1] ?? "";
  return {
    name: `cp ${version}`,
    kind: "copy",
    // A reflink would copy nothing.
    command: ["cp", "--sparse=always", "--reflink=never"],
    writesZstd: false,
  };
}
