import { isQcow2Error, Qcow2Error, Qcow2Image, type SnapshotReference, type WritableDisk } from "@qcow2/core";
import { nodeCodecs } from "@qcow2/node";
import type { Command, CommandContext } from "../command.ts";
import { openImage, openWritable } from "../disks/open-image.ts";
import { CommandError, UsageError } from "../errors/command-errors.ts";
import { withPrefix } from "../errors/describe-error.ts";
import { errnoText } from "../errors/errno-text.ts";
import { qemuErrno } from "../errors/qemu-errno.ts";
import { interruptible } from "../interrupt.ts";
import type { OptionSpec, ParsedArguments } from "../options/getopt.ts";
import { assertNotShared, type ImageName, parseImageName } from "../options/image-name.ts";
import { assertOneMeaning, parseSnapshotSelector } from "../options/snapshot-selector.ts";
import { snapshotTable } from "../output/snapshot-table.ts";
import {
  FORCE_SHARE,
  FORMAT,
  IMAGE_OPTS,
  NOTES_ON_NAMES,
  nameOptions,
  OBJECT,
  onlyImage,
  QUIET,
} from "./common-options.ts";

const OPTIONS: Readonly<
  Record<
    "list" | "apply" | "create" | "delete" | "quiet" | "format" | "imageOpts" | "forceShare" | "object",
    OptionSpec
  >
> = {
  list: { short: "l", long: "list", help: "list the snapshots; the default" },
  apply: { short: "a", long: "apply", value: "SNAPSHOT", help: "make the disk what SNAPSHOT is" },
  create: { short: "c", long: "create", value: "NAME", help: "keep what the disk is now as a snapshot" },
  delete: { short: "d", long: "delete", value: "SNAPSHOT", help: "delete SNAPSHOT" },
  quiet: QUIET,
  format: FORMAT,
  imageOpts: IMAGE_OPTS,
  forceShare: FORCE_SHARE,
  object: OBJECT,
};

const ACTIONS = ["list", "apply", "create", "delete"] as const;

export const snapshotCommand: Command<typeof OPTIONS> = {
  options: OPTIONS,
  help: {
    usage: ["[-l | -a SNAPSHOT | -c NAME | -d SNAPSHOT] [OPTIONS] FILE"],
    description: `Internal snapshots of a qcow2 image: lists, takes, applies or deletes them. No machine may run on the image.
A change comes about wholly or not at all: if it fails, is interrupted, or the power goes, the image is what it was.`,
    notes: `SNAPSHOT is an id or a name, or says which it is: snapshot.id=ID,snapshot.name=NAME (either or both).
Applying a snapshot loses what was written since; take another one first to keep that.
Applying and deleting are refused if more than one snapshot could be meant.
${NOTES_ON_NAMES}`,
    examples: [
      "-c before-upgrade disk.qcow2",
      "-l disk.qcow2",
      "-a before-upgrade disk.qcow2",
      "-d snapshot.id=3 disk.qcow2",
    ],
    exitCodes: [
      [0, "it was done"],
      [1, "it was not done, and the image is what it was"],
    ],
  },
  run: runSnapshot,
};

async function runSnapshot(args: ParsedArguments<typeof OPTIONS>, context: CommandContext): Promise<number> {
  const given = ACTIONS.flatMap((action) => args.values(action).map((value) => ({ action, value })));
  if (given.length > 1) throw new UsageError("Cannot mix '-l', '-a', '-c', '-d'");
  const name = parseImageName(onlyImage(args), nameOptions(args));
  const { action = "list", value = "" } = given[0] ?? {};
  if (action === "list") await list(name, context);
  else await interruptible((signal) => change(name, { action, value, context, signal }));
  return 0;
}

async function list(name: ImageName, context: CommandContext): Promise<void> {
  await using disk = await openImage(name, { metadataOnly: true });
  const snapshots = disk instanceof Qcow2Image ? disk.info().snapshots : [];
  if (snapshots.length === 0) return;
  await context.out.print(["Snapshot list:", ...snapshotTable(snapshots), ""].join("\n"));
}

interface Change {
  readonly action: "apply" | "create" | "delete";
  readonly value: string;
  readonly context: CommandContext;
  readonly signal: AbortSignal;
}

async function change(name: ImageName, wanted: Change): Promise<void> {
  const { action, value, signal } = wanted;
  assertNotShared(name);
  const disk = await openWritable(name, nodeCodecs(), { discard: "unmap", allowWriters: true });
  try {
    await changeDisk(disk, wanted);
  } catch (error) {
    if (error === signal.reason) throw error;
    const reason = wanted.context.program === "qemu-img" ? inQemuWords(error, action) : error;
    throw withPrefix(`Could not ${action} snapshot '${value}': `, reason);
  } finally {
    await disk.close();
  }
}

/** qemu-img tells no more than the kind of error. What only this command refuses keeps its own words. */
function inQemuWords(error: unknown, action: Change["action"]): unknown {
  if (isQcow2Error(error, "ambiguous-snapshot")) return error;
  if (isQcow2Error(error, "unsupported") && error.data.obstacle === "bitmaps") return error;
  if (action === "delete" && isQcow2Error(error, "snapshot-not-found")) {
    return new CommandError("snapshot not found", { cause: error });
  }
  const errno = qemuErrno(error);
  if (errno === undefined) return error;
  const prefix = action === "apply" ? "Failed to load snapshot: " : "";
  return new CommandError(prefix + errnoText(errno), { cause: error });
}

async function changeDisk(disk: WritableDisk, { action, value, context, signal }: Change): Promise<void> {
  if (!(disk instanceof Qcow2Image)) {
    const message = `The format '${disk.format}' does not have snapshots`;
    throw new Qcow2Error("unsupported", message, { operation: `${action} a snapshot` });
  }
  if (action === "create") {
    await disk.createSnapshot({ name: value, signal });
    return;
  }
  if (action === "apply") {
    assertOneMeaning(disk.info().snapshots, parseSnapshotSelector(value), {
      program: context.program,
      warn: (message) => context.warn(`warning: ${message}`),
    });
    await disk.applySnapshot(referenceOf(value), { signal });
  } else await disk.deleteSnapshot(toDelete(disk, value, context), { signal });
}

/**
 * What is ambiguous is refused when it comes to deleting it. qemu-img takes the first snapshot of that name, and never
 * looks at ids; scripts that call it get that, and a warning.
 */
function toDelete(disk: Qcow2Image, value: string, context: CommandContext): SnapshotReference {
  if (context.program !== "qemu-img") return referenceOf(value);
  const named = disk.info().snapshots.filter(({ name }) => name === value);
  const [first, ...others] = named;
  if (first === undefined && !value.startsWith("snapshot.")) throw new CommandError("snapshot not found");
  if (first === undefined) return referenceOf(value);
  if (others.length > 0) {
    const ids = named.map(({ id }) => id).join(", ");
    context.warn(`warning: ${named.length} snapshots are called '${value}' (${ids}); ${first.id} is deleted`);
  }
  return { id: first.id, name: first.name };
}

function referenceOf(text: string): SnapshotReference {
  const selector = parseSnapshotSelector(text);
  return "idOrName" in selector ? selector.idOrName : selector;
}
