/** All cases by command. */

import { AMEND_CASES } from "./cases/amend.ts";
import { BENCH_CASES } from "./cases/bench.ts";
import { BITMAP_CASES } from "./cases/bitmap.ts";
import { CHECK_CASES } from "./cases/check.ts";
import { COMMIT_CASES } from "./cases/commit.ts";
import { COMPARE_CASES } from "./cases/compare.ts";
import { CONVERT_CASES } from "./cases/convert.ts";
import { CREATE_CASES } from "./cases/create.ts";
import { DD_CASES } from "./cases/dd.ts";
import { IMAGE_OPTIONS_CASES } from "./cases/image-options.ts";
import { INFO_CASES } from "./cases/info.ts";
import { MAP_CASES } from "./cases/map.ts";
import { MEASURE_CASES } from "./cases/measure.ts";
import { OBJECT_CASES } from "./cases/objects.ts";
import { REBASE_CASES } from "./cases/rebase.ts";
import { RESIZE_CASES } from "./cases/resize.ts";
import { SNAPSHOT_CASES } from "./cases/snapshot.ts";
import { type CommandCase, commandCase, type DeclaredCase } from "./option-case.ts";

const DECLARED: Readonly<Record<string, readonly DeclaredCase[]>> = {
  amend: AMEND_CASES,
  bench: BENCH_CASES,
  bitmap: BITMAP_CASES,
  check: CHECK_CASES,
  commit: COMMIT_CASES,
  compare: COMPARE_CASES,
  convert: CONVERT_CASES,
  create: CREATE_CASES,
  dd: DD_CASES,
  info: INFO_CASES,
  map: MAP_CASES,
  measure: MEASURE_CASES,
  rebase: REBASE_CASES,
  resize: RESIZE_CASES,
  snapshot: SNAPSHOT_CASES,
};

/** Cases of many commands, by what they are about. */
const SHARED: readonly CommandCase[] = [...OBJECT_CASES, ...IMAGE_OPTIONS_CASES].map(commandCase);

/** The cases of a command, those that ask for its help included. */
export function casesOf(command: string): CommandCase[] {
  const help = ["-h", "--help"].map((option) => ({ words: [command, option], ledger: [13] }));
  const shared = SHARED.filter(({ words }) => words[0] === command);
  return [...(DECLARED[command] ?? []).map(commandCase), ...shared, ...help];
}
