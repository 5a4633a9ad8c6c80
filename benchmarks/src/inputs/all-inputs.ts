/** Every kind of input, by name. */
import { join, resolve } from "node:path";
import {
  DISK_DEFLATE,
  DISK_QCOW2,
  DISK_UNORDERED,
  DISK_ZSTD,
  EMPTY_QCOW2,
  FULL_QCOW2,
} from "./converted-image.ts";
import { EMPTY_DISK } from "./empty-disk.ts";
import { FRAGMENTED_IMAGE } from "./fragmented-image.ts";
import { FULL_DISK } from "./full-disk.ts";
import { GENERATED_DISK } from "./generated-disk.ts";
import type { InputKind, InputName, InputPaths, Recipe } from "./input-kind.ts";
import { OVERLAY_CHAIN } from "./overlay-chain.ts";
import { PREALLOCATED_IMAGE } from "./preallocated-image.ts";

export const INPUTS: Readonly<Record<InputName, InputKind>> = {
  disk: GENERATED_DISK,
  "disk-qcow2": DISK_QCOW2,
  "disk-deflate": DISK_DEFLATE,
  "disk-unordered": DISK_UNORDERED,
  "disk-zstd": DISK_ZSTD,
  fragmented: FRAGMENTED_IMAGE,
  overlays: OVERLAY_CHAIN,
  empty: EMPTY_DISK,
  "empty-qcow2": EMPTY_QCOW2,
  preallocated: PREALLOCATED_IMAGE,
  full: FULL_DISK,
  "full-qcow2": FULL_QCOW2,
};

/** Each input has a folder of its own, but for a disk of the user's. */
export function inputPaths(folder: string, { diskFile }: Pick<Recipe, "diskFile">): InputPaths {
  const paths = Object.values(INPUTS).map(({ name, file }) => [name, join(folder, name, file)]);
  const all = Object.fromEntries(paths) as Record<InputName, string>;
  return diskFile === undefined ? all : { ...all, disk: resolve(diskFile) };
}

/** The inputs and all that they are made of or compared with, in the order in which they can be made. */
export function withWhatTheyNeed(names: readonly InputName[]): readonly InputName[] {
  const ordered = new Set<InputName>();
  const add = (name: InputName): void => {
    const { content, needs } = INPUTS[name];
    for (const needed of [...(content === undefined ? [] : [content]), ...needs]) {
      if (needed !== name) add(needed);
    }
    ordered.add(name);
  };
  for (const name of names) add(name);
  return [...ordered];
}
