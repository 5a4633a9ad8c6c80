import { type Disk, Qcow2Image } from "@qcow2/core";
import { fileIdentity, filesOf, resolveBackingName, resolveDataFileName } from "@qcow2/node";
import { CommandError } from "../errors/command-errors.ts";

/** A disk of a backing chain. */
interface Layer {
  /** The path by which it was opened, which is what qemu-img prints: each relative to the one above. */
  readonly name: string;
  /** The name of the file that holds the guest data: the image itself, or its external data file. */
  readonly dataName: string;
}

/** The disk and its backing files, topmost first. */
function* layersOf(disk: Disk): Generator<Layer> {
  let { name } = disk;
  for (let layer: Disk | undefined = disk; layer !== undefined; ) {
    if (!(layer instanceof Qcow2Image)) {
      yield { name, dataName: name };
      return;
    }
    const { dataFile } = layer.info();
    yield { name, dataName: dataFile === undefined ? name : resolveDataFileName(dataFile) };
    layer = layer.backing;
    name = layer?.name ?? name;
  }
}

/** The paths of the disk and of its backing files, topmost first. */
export function layerPaths(disk: Disk): string[] {
  const paths = [disk.name];
  for (let layer = disk; layer instanceof Qcow2Image && layer.backing !== undefined; layer = layer.backing) {
    paths.push(layer.backing.name);
  }
  return paths;
}

/** How many layers below the disk the image at `path` is; undefined if it is none of its backing files. */
export async function depthOfLayer(disk: Disk, path: string): Promise<number | undefined> {
  const wanted = await identityOf(path);
  if (wanted === undefined) return undefined;
  for (const [depth, layer] of layerPaths(disk).entries()) {
    if (depth > 0 && (await identityOf(layer)) === wanted) return depth;
  }
  return undefined;
}

/**
 * How many layers below the disk its backing file `name` is; undefined if it is none of them. As in qemu-img, a relative
 * name is relative to each image that could have it as its backing file.
 */
export async function depthOfBackingFile(disk: Disk, name: string): Promise<number | undefined> {
  const paths = layerPaths(disk);
  for (const [depth, layer] of paths.entries()) {
    const above = paths[depth - 1];
    if (above === undefined) continue;
    const wanted = await identityOf(resolveBackingName(name, above));
    if (wanted !== undefined && wanted === (await identityOf(layer))) return depth;
  }
  return undefined;
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
  assertApart(disk, [target], role);
  for (const layer of layersOf(disk)) {
    for (const name of [layer.name, layer.dataName]) {
      if ((await identityOf(name)) === target) {
        throw new CommandError(`The target is ${role}, or a file of that one's backing chain: '${name}'`);
      }
    }
  }
}

/** The same for a target that is open already. @throws CommandError */
export function assertApart(disk: Disk, identities: readonly string[], role: string): void {
  const same = filesOf(disk).find(({ identity }) => identities.includes(identity));
  if (same === undefined) return;
  throw new CommandError(`The target is ${role}, or a file of that one's backing chain: '${same.name}'`);
}

/**
 * Refuses two disks with a file in common that one of them writes to.
 * @throws CommandError; `role` says in it what `other` is
 */
export function assertNothingShared(disk: Disk, other: Disk, role: string): void {
  for (const file of filesOf(disk)) {
    const same = filesOf(other).find(
      ({ identity, readOnly }) => identity === file.identity && !(readOnly && file.readOnly),
    );
    if (same === undefined) continue;
    throw new CommandError(`'${file.name}' is a file of ${role}, and would be written to: '${same.name}'`);
  }
}

/** What tells two files apart whatever they are called; undefined if there is none. */
export async function identityOf(path: string): Promise<string | undefined> {
  return await fileIdentity(path);
}
