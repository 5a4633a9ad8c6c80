/** What the files of a case hold, as real QEMU reads them. */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { QemuRelease } from "../qemu-release.ts";

/** A disk's bytes, and those of its snapshots; undefined for a file that is not there. */
export interface FileState {
  readonly disk: Uint8Array;
  readonly snapshots: ReadonlyMap<string, Uint8Array>;
  /** Names of bitmaps, those that were not saved marked. */
  readonly bitmaps: readonly string[];
}

export async function fileState(
  qemu: QemuRelease,
  folder: string,
  name: string,
): Promise<FileState | undefined> {
  const file = join(folder, name);
  if (!existsSync(file)) return undefined;
  const info = JSON.parse((await qemu.img(["info", "--output=json", name], { cwd: folder })).stdout) as {
    readonly format: string;
    readonly snapshots?: readonly { readonly name: string }[];
    readonly "format-specific"?: {
      readonly data: {
        readonly bitmaps?: readonly { readonly name: string; readonly flags: readonly string[] }[];
      };
    };
  };
  const snapshots = new Map<string, Uint8Array>();
  for (const snapshot of info.snapshots ?? []) {
    snapshots.set(
      snapshot.name,
      await readDisk(qemu, folder, name, ["-l", `snapshot.name=${snapshot.name}`]),
    );
  }
  const bitmaps = (info["format-specific"]?.data.bitmaps ?? []).map(
    ({ name: bitmap, flags }) => `${bitmap}${flags.includes("in-use") ? " in use" : ""}`,
  );
  return { disk: await readDisk(qemu, folder, name), snapshots, bitmaps };
}

async function readDisk(
  qemu: QemuRelease,
  folder: string,
  name: string,
  options: readonly string[] = [],
): Promise<Uint8Array> {
  const raw = join(folder, ".read");
  try {
    await qemu.img(["convert", ...options, "-O", "raw", name, ".read"], { cwd: folder });
    return readFileSync(raw);
  } finally {
    rmSync(raw, { force: true });
  }
}

export function isSameState(first: FileState | undefined, second: FileState | undefined): boolean {
  if (first === undefined || second === undefined) return first === second;
  return (
    Buffer.compare(first.disk, second.disk) === 0 &&
    first.bitmaps.join() === second.bitmaps.join() &&
    hasSameSnapshots(first, second)
  );
}

/** Each sector of the disk is as in one of the two, and so are snapshots; bitmaps may be in use. */
export function isBetween(state: FileState, before: FileState, after: FileState): boolean {
  if (!hasSameSnapshots(state, before) && !hasSameSnapshots(state, after)) return false;
  if (state.disk.length !== before.disk.length && state.disk.length !== after.disk.length) return false;
  for (let at = 0; at < state.disk.length; at += 512) {
    const sector = state.disk.subarray(at, at + 512);
    const isKnown = [before, after].some(
      ({ disk }) => Buffer.compare(disk.subarray(at, at + 512), sector) === 0,
    );
    if (!isKnown) return false;
  }
  return true;
}

function hasSameSnapshots(first: FileState, second: FileState): boolean {
  return (
    first.snapshots.size === second.snapshots.size &&
    [...first.snapshots].every(
      ([name, disk]) => Buffer.compare(disk, second.snapshots.get(name) ?? new Uint8Array(1)) === 0,
    )
  );
}
