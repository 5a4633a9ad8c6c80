/** `convert --bitmaps`: the source's persistent bitmaps, in the target. */
import { type BitmapAction, type Disk, Qcow2Image, type WritableDisk } from "@qcow2/core";
import { CommandError } from "../errors/command-errors.ts";
import { withPrefix } from "../errors/describe-error.ts";
import type { ProgramName } from "../program.ts";

export interface BitmapsToCopy {
  readonly source: Qcow2Image;
  readonly names: readonly string[];
  /** Those that are left out, because they were not saved. */
  readonly skipped: readonly string[];
}

/**
 * What there is to copy, judged before anything is written.
 * @throws CommandError if the source has none that can be copied, or one that was not saved
 */
export function bitmapsToCopy(
  disk: Disk,
  { skipBroken, program }: { readonly skipBroken: boolean; readonly program: ProgramName },
): BitmapsToCopy {
  const source = disk;
  if (!(source instanceof Qcow2Image) || source.info().version < 3) {
    throw new CommandError("Source lacks bitmap support");
  }
  const { bitmaps } = source.info();
  // In the order in which QEMU looks at them.
  const broken = bitmaps
    .filter(({ inUse }) => inUse)
    .map(({ name }) => name)
    .reverse();
  if (broken[0] !== undefined && !skipBroken) {
    throw new CommandError(`Cannot copy inconsistent bitmap '${broken[0]}'`, {
      hints: [`Try --skip-broken-bitmaps, or use '${program} bitmap --remove' to delete it`],
    });
  }
  const names = bitmaps.filter(({ inUse }) => !inUse).map(({ name }) => name);
  return { source, names, skipped: broken };
}

/**
 * The target, if it can have the bitmaps: judged before anything is written to it.
 * @throws CommandError
 */
function requireBitmapSupport(target: WritableDisk): Qcow2Image {
  if (target instanceof Qcow2Image && target.info().version >= 3) return target;
  throw new CommandError(`Format driver '${target.format}' does not support bitmaps`);
}

/** @throws CommandError if the target cannot have the bitmaps */
export function assertTakesBitmaps({ source, names }: BitmapsToCopy, target: WritableDisk): void {
  requireBitmapSupport(target);
  const last = names.at(-1);
  if (last === undefined || target.size === source.size) return;
  throw new CommandError(
    `Failed to populate bitmap ${last}: Bitmaps are of different sizes (destination size is ${target.size}, ` +
      `source size is ${source.size}) and can't be merged`,
  );
}

/** Adds the bitmaps to the target when all data is there, so that they do not tell of the copy itself. */
export async function copyBitmaps(
  { source, names }: BitmapsToCopy,
  disk: WritableDisk,
  signal: AbortSignal,
): Promise<void> {
  if (names.length === 0) return;
  const target = requireBitmapSupport(disk);
  const all = source.info().bitmaps;
  let current = names[0] as string;
  try {
    const actions: BitmapAction[] = [];
    for (const { name, granularity, auto } of all.filter((bitmap) => names.includes(bitmap.name))) {
      current = name;
      const from = await source.dirtyRanges(name);
      actions.push({ kind: "add", name, granularity, enabled: auto });
      actions.push({ kind: "merge", name, source: name, from });
    }
    await target.changeBitmaps(actions, {
      signal,
      onAction: ({ name }) => {
        current = name;
      },
    });
  } catch (error) {
    if (error === signal.reason) throw error;
    throw withPrefix(`Failed to create bitmap ${current}: `, error);
  }
}
