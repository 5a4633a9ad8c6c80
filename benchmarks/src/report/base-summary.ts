/** A change beside the branch it is to go into, in short: for the summary of a pull request. */
import { judge, type Summary, summarize } from "../measure/statistics.ts";
import type { BenchmarkResults, CaseResult, ToolResult } from "../results.ts";
import { isBusy, machineInWords } from "./machine-in-words.ts";
import { markdownTable } from "./table.ts";
import { formatBytes, formatSeconds } from "./units.ts";

const HEADINGS = ["case", "base", "this change", "ratio", "", "memory, base", "memory, this change"];

/** Markdown, a section with a table. Cases without a result of both sides are listed with the reason. */
export function baseSummary(results: BenchmarkResults): string {
  const rows = results.cases.flatMap(caseRows);
  const missing = results.cases.flatMap(({ leftOut }) => leftOut.filter((why) => why.includes("(base)")));
  const busy = isBusy(results.machine)
    ? "\n- The machine was busy with other work before the first run."
    : "";
  return [
    "## This change beside its base",
    "",
    inWords(rows.map(({ verdict }) => verdict)),
    "",
    markdownTable(
      rows.map(({ cells }) => cells),
      HEADINGS,
    ),
    ...missing.map((why) => `\nLeft out: ${why}`),
    "",
    `- ${results.runs} runs of each, in turn, on the same machine: ${machineInWords(results.machine)}${busy}`,
    ...results.inputs.map((what) => `- ${what}`),
    "- A difference is said only if the medians are 5 % apart and each lies outside of the other's range.",
    "",
  ].join("\n");
}

interface Row {
  readonly cells: readonly string[];
  readonly verdict: string;
}

function caseRows({ title, tools }: CaseResult): readonly Row[] {
  return tools
    .filter(({ kind }) => kind === "ours")
    .flatMap((ours) => {
      const base = tools.find(({ kind, node }) => kind === "base" && node === ours.node);
      return base === undefined ? [] : [row(`${title}, Node.js ${ours.node}`, base, ours)];
    });
}

function row(title: string, base: ToolResult, ours: ToolResult): Row {
  const [before, after] = [summarize(base.seconds), summarize(ours.seconds)];
  const verdict = judge(after, before);
  return {
    verdict,
    cells: [
      title,
      times(before),
      times(after),
      (after.median / before.median).toFixed(2),
      verdict === "no clear difference" ? "" : `**${verdict}**`,
      memory(base),
      memory(ours),
    ],
  };
}

function times({ median, smallest, largest }: Summary): string {
  return `${formatSeconds(median)} (${formatSeconds(smallest)} to ${formatSeconds(largest)})`;
}

function memory({ peakBytes }: ToolResult): string {
  return peakBytes.length === 0 ? "" : formatBytes(summarize(peakBytes).largest);
}

function inWords(verdicts: readonly string[]): string {
  const count = (wanted: string): number => verdicts.filter((verdict) => verdict === wanted).length;
  return `${verdicts.length} comparisons: ${count("slower")} slower, ${count("faster")} faster, ${count("no clear difference")} without a clear difference.`;
}
