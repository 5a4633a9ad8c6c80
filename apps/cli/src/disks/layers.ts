import { stat } from "node:fs/promises";
import { type Disk, Qcow2Image } from "@qcow2/core";
import { resolveDataFileName } from "@qcow2/node";
import { CommandError } from "../errors/command-errors.ts";
import { combineNames } from "./path-names.ts";

/** A disk of a backing chain. */
interface Layer {
  /** The image's name as qemu-img would print it: each relative to the one above. */
  readonly name: string;
  /** The name of the file that holds the guest data: the image itself, or its external data file. */
  readonly dataName: string;
}

/** The disk and its backing files, topmost first. */
function* layersOf(disk: Disk): Generator<Layer> {
  let name = disk.name;
  for (let layer: Disk | undefined = disk; layer !== undefined; ) {
    if (!(layer instanceof Qcow2Image)) {
      yield { name, dataName: name };
      return;
    }
    const { dataFile, backingFile } = layer.info();
    yield { name, dataName: dataFile === undefined ? name : resolveDataFileName(dataFile) };
    if (backingFile !== undefined) name = combineNames(name, backingFile);
    layer = layer.backing;
  }
}

/** For each layer of the chain, topmost first, the name of the file that holds its guest data. */
export function layerFileNames(disk: Disk): string[] {
  return Array.from(layersOf(disk), ({ dataName }) => dataName);
}

/**
 * Refuses a target that is one of the files that `disk` is read from: it would be replaced while it is needed.
 * @throws CommandError; `role` says in it what the target is already
 */
export async function assertNoFileOf(disk: Disk, targetPath: string, role: string): Promise<void> {
  const target = await identityOf(targetPath);
  if (target === undefined) return;
  for (const layer of layersOf(disk)) {
    for (const name of [layer.name, layer.dataName]) {
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
