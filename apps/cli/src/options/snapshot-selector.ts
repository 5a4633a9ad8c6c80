/** `-l`: which internal snapshot to read. */
import type { SnapshotInfo } from "@qcow2/core";
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

function byIdOrName(snapshots: readonly SnapshotInfo[], idOrName: string): SnapshotInfo | undefined {
  return snapshots.find(({ id }) => id === idOrName) ?? snapshots.find(({ name }) => name === idOrName);
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
