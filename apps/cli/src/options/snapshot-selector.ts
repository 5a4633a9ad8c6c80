/** `-l`: which internal snapshot to read. */
import type { SnapshotInfo } from "@qcow2/core";
import type { CommandContext } from "../command.ts";
import { CommandError } from "../errors/command-errors.ts";
import { parseOptionList } from "./option-list.ts";

export type SnapshotSelector =
  | { readonly idOrName: string }
  | { readonly id: string | undefined; readonly name: string | undefined };

/** `snapshot.id=ID,snapshot.name=NAME` (either or both), or a bare id or name. @throws CommandError */
export function parseSnapshotSelector(text: string): SnapshotSelector {
  if (!text.startsWith("snapshot.")) return { idOrName: text };
  let id: string | undefined;
  let name: string | undefined;
  for (const option of parseOptionList(text)) {
    if (option.name === "snapshot.id") id = option.value;
    else if (option.name === "snapshot.name") name = option.value;
    else
      throw new CommandError(
        `Failed in parsing snapshot param '${text}': Invalid parameter '${option.name}'`,
      );
  }
  return { id, name };
}

/** The id of the snapshot that is meant. @throws CommandError if there is none */
export function selectSnapshot(snapshots: readonly SnapshotInfo[], selector: SnapshotSelector): string {
  const found =
    "idOrName" in selector ? byIdOrName(snapshots, selector.idOrName) : byBoth(snapshots, selector);
  if (found === undefined) throw new CommandError("Failed to load snapshot: Can't find snapshot");
  return found.id;
}

/** An id counts before a name, as in QEMU; see {@link otherMeaningOf}. */
function byIdOrName(snapshots: readonly SnapshotInfo[], idOrName: string): SnapshotInfo | undefined {
  return snapshots.find(({ id }) => id === idOrName) ?? snapshots.find(({ name }) => name === idOrName);
}

/**
 * What says that a bare word could mean another snapshot than QEMU takes, the one with that id, or of several with that
 * name the first; undefined if only one can be meant.
 */
function otherMeaningOf(snapshots: readonly SnapshotInfo[], selector: SnapshotSelector): string | undefined {
  if (!("idOrName" in selector)) return undefined;
  const { idOrName } = selector;
  const isMeant = ({ id, name }: SnapshotInfo): boolean => id === idOrName || name === idOrName;
  const first = byIdOrName(snapshots, idOrName);
  const meant = snapshots.filter(isMeant).sort((a, b) => Number(b === first) - Number(a === first));
  if (meant.length < 2) return undefined;
  const list = meant.map(({ id, name }) => `snapshot ${id} ('${name}')`).join(" or ");
  return `'${idOrName}' is ambiguous: it could be ${list}`;
}

/**
 * Refuses a word that could mean several snapshots; called as qemu-img, so that scripts go on working, there is a warning,
 * and what QEMU takes is taken.
 * @throws CommandError
 */
export function assertOneMeaning(
  snapshots: readonly SnapshotInfo[],
  selector: SnapshotSelector,
  { program, warn }: Pick<CommandContext, "program" | "warn">,
): void {
  const ambiguity = otherMeaningOf(snapshots, selector);
  if (ambiguity === undefined) return;
  if (program !== "qemu-img")
    throw new CommandError(`${ambiguity}; say snapshot.id=ID or snapshot.name=NAME`);
  warn(`${ambiguity}; the first is taken`);
}

function byBoth(
  snapshots: readonly SnapshotInfo[],
  { id, name }: { readonly id: string | undefined; readonly name: string | undefined },
): SnapshotInfo | undefined {
  if (id === undefined && name === undefined) return undefined;
  return snapshots.find(
    (snapshot) => (id === undefined || snapshot.id === id) && (name === undefined || snapshot.name === name),
  );
}
