/** A snapshot table of which something is broken, or lies where something else does: stored anew in another place. */
import { Qcow2Error } from "../../errors.ts";
import { l1EntriesFor } from "../../format/geometry.ts";
import { HEADER_SNAPSHOTS_AT } from "../../format/header.ts";
import { encodeSnapshotTable, type SnapshotEntry } from "../../format/snapshot-table.ts";
import { decodeStoredText } from "../../format/stored-text.ts";
import { viewOf, writeUint64 } from "../../format/uint64.ts";
import { readExactly } from "../../storage/read-exactly.ts";
import type { ImageLayout } from "../image-layout.ts";
import { copyL1Table } from "./copy-l1-table.ts";
import type { RepairFile } from "./repair-file.ts";
import type { Irreparable, RepairOptions } from "./repair-options.ts";
import { type SnapshotSurvey, type SurveyedSnapshot, surveySnapshots } from "./survey-snapshots.ts";

/** Bytes of nb_snapshots and snapshots_offset together. */
const FIELDS_BYTES = 12;

export interface MendedSnapshots {
  /** Entries that were put right. */
  readonly mended: number;
  readonly left: readonly Irreparable[];
  readonly discarded: readonly Irreparable[];
}

/** What of the snapshots cannot be read, without changing anything. */
export function irreparableSnapshots({ entries, problem }: SnapshotSurvey): Irreparable[] {
  const found = entries.flatMap(({ entry, problem: reason }): Irreparable[] =>
    reason === undefined
      ? []
      : [
          {
            kind: "snapshot",
            id: decodeStoredText(entry.idBytes),
            name: decodeStoredText(entry.nameBytes),
            reason,
          },
        ],
  );
  if (problem !== undefined) found.push({ kind: "snapshot-table", reason: problem });
  return found;
}

/**
 * Keeps all snapshots that the table has. A new table is written where nothing is, and the header switches to it; so are
 * L1 tables that do not lie in the file as a whole, or have other users. A table that cannot be read to its end is left
 * alone, and so is the entry of a snapshot whose L1 table cannot be read, unless they are to be discarded.
 */
export async function mendSnapshots(
  file: RepairFile,
  layout: ImageLayout,
  { discardSnapshots = false }: Pick<RepairOptions, "discardSnapshots">,
): Promise<MendedSnapshots> {
  const survey = await surveySnapshots(file.storage, layout);
  const irreparable = irreparableSnapshots(survey);
  const discarded = discardSnapshots ? irreparable : [];
  const left = discardSnapshots ? [] : irreparable;
  if (survey.problem !== undefined && !discardSnapshots) return { mended: 0, left, discarded };
  const kept = discardSnapshots
    ? survey.entries.filter(({ problem }) => problem === undefined)
    : survey.entries;
  const isInTheWay =
    survey.entries.length > 0 && survey.places.some((place) => !file.isAlone("directory", place));
  const moving = kept.filter((snapshot) => hasToMove(file, snapshot));
  if (discarded.length === 0 && !survey.needsRewriting && !isInTheWay && moving.length === 0) {
    return { mended: 0, left, discarded };
  }
  const entries: SnapshotEntry[] = [];
  const moved = new Map<string, Pick<SnapshotEntry, "l1TableOffset" | "l1Size">>();
  for (const snapshot of kept) {
    entries.push(
      moving.includes(snapshot)
        ? { ...snapshot.entry, ...(await moveL1(file, layout, snapshot, moved)) }
        : snapshot.entry,
    );
  }
  const bytes = encodeSnapshotTable(entries);
  const offset = entries.length === 0 ? 0 : await file.append(bytes);
  await file.flush();
  const fields = new Uint8Array(FIELDS_BYTES);
  await readExactly(file.storage, HEADER_SNAPSHOTS_AT, fields, "Header");
  viewOf(fields).setUint32(0, entries.length);
  writeUint64(viewOf(fields), 4, offset);
  await file.writeHeader(HEADER_SNAPSHOTS_AT, fields);
  await file.flush();
  return { mended: Math.max(1, moving.length + discarded.length), left, discarded };
}

/** Its L1 table is not in the file as a whole, or something else is in its place, too. */
function hasToMove(file: RepairFile, { location }: SurveyedSnapshot): boolean {
  if (location === undefined) return false;
  return location.offset + location.length > file.originalSize || !file.isAlone("l1-table", location);
}

/** Snapshots that share a table share its copy, too. */
async function moveL1(
  file: RepairFile,
  { geometry }: ImageLayout,
  { location, entry }: SurveyedSnapshot,
  moved: Map<string, Pick<SnapshotEntry, "l1TableOffset" | "l1Size">>,
): Promise<Pick<SnapshotEntry, "l1TableOffset" | "l1Size">> {
  if (location === undefined) throw new Qcow2Error("corrupt", "No L1 table", { structure: "snapshot table" });
  const size = entry.diskSize ?? 0n;
  const needed = size > BigInt(Number.MAX_SAFE_INTEGER) ? entry.l1Size : l1EntriesFor(geometry, Number(size));
  const key = `${location.offset}:${location.length}:${needed}`;
  let copy = moved.get(key);
  if (copy === undefined) {
    const { offset, entries } = await copyL1Table(file, location, needed);
    copy = { l1TableOffset: BigInt(offset), l1Size: entries };
    moved.set(key, copy);
  }
  return copy;
}
