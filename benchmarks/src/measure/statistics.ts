/** The statistics of a few runs. No means: one disturbed run would move them. */

export interface Summary {
  readonly median: number;
  readonly smallest: number;
  readonly largest: number;
}

/** @throws RangeError without values, or with one that is no finite number */
export function summarize(values: readonly number[]): Summary {
  const sorted = [...values].sort((first, second) => first - second);
  const [smallest, largest] = [sorted[0], sorted.at(-1)];
  if (smallest === undefined || largest === undefined) throw new RangeError("no values to summarize");
  if (!sorted.every(Number.isFinite)) throw new RangeError(`not all of ${values.join(", ")} are numbers`);
  const middle = Math.floor(sorted.length / 2);
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return { median, smallest, largest };
}

/** How two tools' times relate, in words that the measurement supports. */
export type Verdict = "faster" | "slower" | "no clear difference";

/** Less than this between the medians is not called a difference, however steady the runs were. */
const SMALLEST_DIFFERENCE = 0.05;

/**
 * Judges `ours` against `theirs`. It is a difference only if the medians are 5 % apart and each median lies outside of
 * the other tool's range of runs.
 */
export function judge(ours: Summary, theirs: Summary): Verdict {
  const ratio = ours.median / theirs.median;
  if (ratio > 1 + SMALLEST_DIFFERENCE && ours.median > theirs.largest && theirs.median < ours.smallest) {
    return "slower";
  }
  if (
    ratio < 1 / (1 + SMALLEST_DIFFERENCE) &&
    ours.median < theirs.smallest &&
    theirs.median > ours.largest
  ) {
    return "faster";
  }
  return "no clear difference";
}

/**
 * The order of the tools in a run: each run starts with the next tool, so that no tool always runs first, or always
 * behind the same other tool's leftovers.
 */
export function rotate<T>(items: readonly T[], run: number): readonly T[] {
  if (items.length === 0) return items;
  const start = run % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
}
