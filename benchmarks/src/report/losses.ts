/** Where ours is slower or faster than others beyond doubt, in a line for each case; and memory. */
import type { Comparison } from "./compare-tools.ts";
import { formatSeconds } from "./units.ts";

const NOTHING = "In none of these cases, on this machine.";

/** Slower beyond doubt, the worst first; then memory. */
export function lossesInMarkdown(comparisons: readonly Comparison[]): string {
  const slower = byCase(comparisons, "slower").sort((first, second) => second.largest - first.largest);
  const lines = [...slower.map(({ line }) => line), ...memoryLoss(comparisons)];
  return lines.length === 0 ? NOTHING : lines.join("\n");
}

/** Faster beyond doubt, the best first. */
export function winsInMarkdown(comparisons: readonly Comparison[]): string {
  const faster = byCase(comparisons, "faster").sort((first, second) => first.smallest - second.smallest);
  return faster.length === 0 ? NOTHING : faster.map(({ line }) => line).join("\n");
}

interface CaseLine {
  readonly line: string;
  /** Of the ratios. */
  readonly smallest: number;
  readonly largest: number;
}

/** A line for each case and each of the others, with all of ours that `verdict` is true for. */
function byCase(comparisons: readonly Comparison[], verdict: Comparison["verdict"]): CaseLine[] {
  const groups = new Map<string, Comparison[]>();
  for (const comparison of comparisons) {
    if (comparison.verdict !== verdict) continue;
    const key = `${comparison.title}\n${comparison.theirs.name}`;
    groups.set(key, [...(groups.get(key) ?? []), comparison]);
  }
  return [...groups.values()].map((group) => {
    const [{ title, theirs, theirSeconds }] = group as [Comparison];
    const ratios = group.map(({ ratio }) => ratio);
    const ours = group.map(
      ({ ours, ourSeconds, ratio }) =>
        `${ours.name} takes ${formatSeconds(ourSeconds.median)} (× ${ratio.toFixed(2)})`,
    );
    return {
      line: `- **${capitalize(title)}**: ${theirs.name} takes ${formatSeconds(theirSeconds.median)}, ${ours.join(", ")}.`,
      smallest: Math.min(...ratios),
      largest: Math.max(...ratios),
    };
  });
}

/** Against qemu-img: libraries on Node.js have its memory, too. */
function memoryLoss(comparisons: readonly Comparison[]): readonly string[] {
  const ratios = comparisons
    .filter(({ theirs }) => theirs.kind === "qemu")
    .flatMap(({ memoryRatio }) => (memoryRatio === undefined ? [] : [memoryRatio]));
  const larger = ratios.filter((ratio) => ratio > 1);
  if (larger.length === 0) return [];
  const [least, most] = [Math.min(...larger), Math.max(...larger)];
  return [
    `- **Memory**: in ${larger.length} of ${ratios.length} comparisons our process needs more than qemu-img's, ` +
      `${least.toFixed(1)} to ${most.toFixed(1)} times as much; the tables have the numbers.`,
  ];
}

/** Titles start with a command's name. */
export function capitalize(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
