/** The limits as a table: what was promised, and whether it is kept. */
import { isMet, type LimitResult } from "../limits/measure-limits.ts";
import { formatBytes } from "./units.ts";

export const LIMIT_HEADINGS: readonly string[] = [
  "case",
  "tool",
  "against",
  "at most",
  "measured",
  "verdict",
  "remark",
];

export function limitRow(result: LimitResult): readonly string[] {
  const { limit, subject, against, measured, note } = result;
  const inWords = (value: number): string =>
    limit.kind === "memory" ? formatBytes(value) : value.toFixed(2);
  const met = isMet(result);
  return [
    limit.title,
    subject,
    against ?? "",
    inWords(limit.atMost),
    measured === undefined ? "not measured" : inWords(measured),
    met === undefined ? "" : met ? "met" : "missed",
    note ?? "",
  ];
}

/** "11 of 16 limits are met, 4 are missed, 1 was not measured." */
export function limitsInWords(results: readonly LimitResult[]): string {
  const count = (wanted: boolean | undefined): number =>
    results.filter((result) => isMet(result) === wanted).length;
  const unmeasured = count(undefined);
  return (
    `${count(true)} of ${results.length} limits are met, ${count(false)} missed` +
    `${unmeasured === 0 ? "" : `, ${unmeasured} not measured`}.`
  );
}
