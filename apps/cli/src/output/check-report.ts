import type { CheckResult, Irreparable } from "@qcow2/core";
import { formatFixed } from "./decimal.ts";
import { formatQemuJson, type JsonValue } from "./qemu-json.ts";

/** What `check` prints for people, newline included. */
export function checkText(result: CheckResult): string {
  return checkParts(result)
    .map(({ text }) => text)
    .join("");
}

export interface CheckPart {
  readonly kind: "good" | "corruptions" | "leaks" | "errors" | "numbers";
  readonly text: string;
}

/** The same in parts, each of which says one thing. */
export function checkParts(result: CheckResult): readonly CheckPart[] {
  return [...findings(result), { kind: "numbers", text: allocation(result) + imageEnd(result) }];
}

interface CheckedImage {
  readonly result: CheckResult;
  readonly corruptionsFixed: number;
  readonly leaksFixed: number;
  /** What was left as it is, and what was given up; only where there is some. */
  readonly left?: readonly Irreparable[];
  readonly discarded?: readonly Irreparable[];
}

/** What a repair prints before the result of the check after it; nothing if there was nothing to repair. */
export function repairText({
  corruptionsFixed,
  leaksFixed,
}: Pick<CheckedImage, "corruptionsFixed" | "leaksFixed">): string {
  if (corruptionsFixed + leaksFixed === 0) return "";
  return (
    "The following inconsistencies were found and repaired:\n\n" +
    `    ${leaksFixed} leaked clusters\n    ${corruptionsFixed} corruptions\n\n` +
    "Double checking the fixed image now...\n"
  );
}

/** What `check --output=json` prints; counts of zero are left out, except the errors of the check itself. */
export function checkJson(
  { result, corruptionsFixed, leaksFixed, left, discarded }: CheckedImage,
  image: { filename: string; format: string },
): string {
  const unlessZero = (count: number): number | undefined => (count === 0 ? undefined : count);
  const unlessNone = (items: readonly Irreparable[] = []): JsonValue | undefined =>
    items.length === 0 ? undefined : items.map((item) => ({ ...item }));
  const json = formatQemuJson({
    filename: image.filename,
    format: image.format,
    "check-errors": result.checkErrors,
    "image-end-offset": unlessZero(result.imageEndOffset),
    corruptions: unlessZero(result.corruptions),
    leaks: unlessZero(result.leaks),
    "corruptions-fixed": unlessZero(corruptionsFixed),
    "leaks-fixed": unlessZero(leaksFixed),
    "total-clusters": unlessZero(result.totalClusters),
    "allocated-clusters": unlessZero(result.allocatedClusters),
    "fragmented-clusters": unlessZero(result.fragmentedClusters),
    "compressed-clusters": unlessZero(result.compressedClusters),
    left: unlessNone(left),
    discarded: unlessNone(discarded),
  });
  return `${json}\n`;
}

function findings({ corruptions, leaks, checkErrors }: CheckResult): readonly CheckPart[] {
  if (corruptions === 0 && leaks === 0 && checkErrors === 0) {
    return [{ kind: "good", text: "No errors were found on the image.\n" }];
  }
  const parts: CheckPart[] = [];
  if (corruptions > 0) {
    const text =
      `\n${corruptions} errors were found on the image.\n` +
      "Data may be corrupted, or further writes to the image may corrupt it.\n";
    parts.push({ kind: "corruptions", text });
  }
  if (leaks > 0) {
    const text =
      `\n${leaks} leaked clusters were found on the image.\n` +
      "This means waste of disk space, but no harm to data.\n";
    parts.push({ kind: "leaks", text });
  }
  if (checkErrors > 0) {
    parts.push({
      kind: "errors",
      text: `\n${checkErrors} internal errors have occurred during the check.\n`,
    });
  }
  return parts;
}

function allocation(result: CheckResult): string {
  const { totalClusters, allocatedClusters, fragmentedClusters, compressedClusters } = result;
  if (totalClusters === 0 || allocatedClusters === 0) return "";
  const percent = (part: number, whole: number): string => `${formatFixed((part * 100) / whole, 2)}%`;
  return (
    `${allocatedClusters}/${totalClusters} = ${percent(allocatedClusters, totalClusters)} allocated, ` +
    `${percent(fragmentedClusters, allocatedClusters)} fragmented, ` +
    `${percent(compressedClusters, allocatedClusters)} compressed clusters\n`
  );
}

function imageEnd({ imageEndOffset }: CheckResult): string {
  return imageEndOffset === 0 ? "" : `Image end offset: ${imageEndOffset}\n`;
}
