/** Which snapshot somebody means. */
import { Qcow2Error } from "../../errors.ts";
import type { SnapshotEntry } from "../../format/snapshot-table.ts";
import { decodeStoredText } from "../../format/stored-text.ts";

/** An id or a name; or one of them, or both, by what they are. */
export type SnapshotReference =
  | string
  | { readonly id?: string | undefined; readonly name?: string | undefined };

/** By id first, then by name, as QEMU does. @throws Qcow2Error "snapshot-not-found" */
export function findSnapshot(snapshots: readonly SnapshotEntry[], wanted: SnapshotReference): SnapshotEntry {
  const found = typeof wanted === "string" ? byIdOrName(snapshots, wanted)[0] : byBoth(snapshots, wanted)[0];
  if (found === undefined) throw notFound(wanted);
  return found;
}

/**
 * As {@link findSnapshot}, for whoever is about to destroy it.
 * @throws Qcow2Error "ambiguous-snapshot" if another one could be meant, too
 */
export function findOnlySnapshot(
  snapshots: readonly SnapshotEntry[],
  wanted: SnapshotReference,
): SnapshotEntry {
  const [found, ...others] =
    typeof wanted === "string" ? byIdOrName(snapshots, wanted) : byBoth(snapshots, wanted);
  if (found === undefined) throw notFound(wanted);
  if (others.length === 0) return found;
  const candidates = [found, ...others].map((entry) => ({ id: idOf(entry), name: nameOf(entry) }));
  throw new Qcow2Error(
    "ambiguous-snapshot",
    `'${textOf(wanted)}' is ambiguous: it could be ${candidates.map(({ id, name }) => `snapshot ${id} ('${name}')`).join(" or ")}`,
    { snapshot: textOf(wanted), candidates },
  );
}

function byIdOrName(snapshots: readonly SnapshotEntry[], wanted: string): SnapshotEntry[] {
  const byId = snapshots.filter((entry) => idOf(entry) === wanted);
  return [...byId, ...snapshots.filter((entry) => nameOf(entry) === wanted && !byId.includes(entry))];
}

function byBoth(
  snapshots: readonly SnapshotEntry[],
  { id, name }: { readonly id?: string | undefined; readonly name?: string | undefined },
): SnapshotEntry[] {
  if (id === undefined && name === undefined) return [];
  return snapshots.filter(
    (entry) => (id === undefined || idOf(entry) === id) && (name === undefined || nameOf(entry) === name),
  );
}

function idOf(entry: SnapshotEntry): string {
  return decodeStoredText(entry.idBytes);
}

function nameOf(entry: SnapshotEntry): string {
  return decodeStoredText(entry.nameBytes);
}

function textOf(wanted: SnapshotReference): string {
  return typeof wanted === "string" ? wanted : (wanted.name ?? wanted.id ?? "");
}

function notFound(wanted: SnapshotReference): Qcow2Error {
  const snapshot = textOf(wanted);
  return new Qcow2Error("snapshot-not-found", `The image has no snapshot '${snapshot}'`, { snapshot });
}
