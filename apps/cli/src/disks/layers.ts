import { stat } from "node:fs/promises";
import { type Disk, Qcow2Image } from "@qcow2/core";
import { CommandError } from "../errors/command-errors.ts";
import { combineNames } from "./path-names.ts";

/** The disk and its backing files, topmost first. */
function* layersOf(disk: Disk): Generator<Disk> {
  for (let layer: Disk | undefined = disk; layer !== undefined; ) {
    yield layer;
    layer = layer instanceof Qcow2Image ? layer.backing : undefined;
  }
}

/** The name of the file that holds the guest data of one layer. */
function dataFileName(layer: Disk): string {
  const dataFile = layer instanceof Qcow2Image ? layer.info().dataFile : undefined;
  return dataFile === undefined ? layer.name : combineNames(layer.name, dataFile);
}

/** The name of the file that holds the guest data of the layer `depth` backing files below `disk`. */
export function layerFileName(disk: Disk, depth: number): string {
  const layer = [...layersOf(disk)][depth];
  return layer === undefined ? "" : dataFileName(layer);
}

/**
 * Refuses a target that is one of the files that `disk` is read from: it would be replaced while it is needed.
 * @throws CommandError; `role` says in it what the target is already
 */
export async function assertNoFileOf(disk: Disk, targetPath: string, role: string): Promise<void> {
  const target = await identityOf(targetPath);
  if (target === undefined) return;
  for (const layer of layersOf(disk)) {
    for (const name of [layer.name, dataFileName(layer)]) {
      if ((await identityOf(name)) === target) {
        throw new CommandError(`The target is ${role}, or a file of that one's backing chain: '${name}'`);
      }
    }
  }
}

async function identityOf(path: string): Promise<string | undefined> {
  try {
    const { dev, ino } = await stat(path, { bigint: true });
    return `${dev}:${ino}`;
  } catch {
    return undefined;
  }
}
