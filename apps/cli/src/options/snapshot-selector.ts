/** `-l`: which internal snapshot to read. */
import type { SnapshotInfo, SnapshotReference } from "@qcow2/core";
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

/** The snapshot that is meant: its id and its name, because damaged images have ids twice. @throws CommandError if there is none */
export function selectSnapshot(
  snapshots: readonly SnapshotInfo[],
  selector: SnapshotSelector,
): SnapshotReference {
  const [found] = meantBy(snapshots, selector);
  if (found === undefined) throw new CommandError("Failed to load snapshot: Can't find snapshot");
  return { id: found.id, name: found.name };
}

/** All that could be meant, first what QEMU takes: an id counts before a name, and an entry before those behind it. */
function meantBy(snapshots: readonly SnapshotInfo[], selector: SnapshotSelector): readonly SnapshotInfo[] {
  if (!("idOrName" in selector)) return byBoth(snapshots, selector);
  const { idOrName } = selector;
  const hasId = snapshots.filter(({ id }) => id === idOrName);
  return [...hasId, ...snapshots.filter(({ id, name }) => name === idOrName && id !== idOrName)];
}

/** What says that another snapshot than the one QEMU takes could be meant; undefined if only one can be. */
function otherMeaningOf(snapshots: readonly SnapshotInfo[], selector: SnapshotSelector): string | undefined {
  const meant = meantBy(snapshots, selector);
  if (meant.length < 2) return undefined;
  const text = "idOrName" in selector ? selector.idOrName : (selector.name ?? selector.id);
  const list = meant.map(({ id, name }) => `snapshot ${id} ('${name}')`).join(" or ");
  return `'${text}' is ambiguous: it could be ${list}`;
}

/**
 * Refuses what could mean several snapshots; called as qemu-img, so that scripts go on working, there is a warning,
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
    throw new CommandError(`${ambiguity}; say snapshot.id=ID or snapshot.name=NAME, or both`);
  warn(`${ambiguity}; the first is taken`);
}

function byBoth(
  snapshots: readonly SnapshotInfo[],
  { id, name }: { readonly id: string | undefined; readonly name: string | undefined },
): readonly SnapshotInfo[] {
  if (id === undefined && name === undefined) return [];
  return snapshots.filter(
    (snapshot) => (id === undefined || snapshot.id === id) && (name === undefined || snapshot.name === name),
  );
}
