/** What a case says about ours and theirs; the tables and the lists of losses are made of it. */
import { judge, type Summary, summarize, type Verdict } from "../measure/statistics.ts";
import type { BenchmarkResults, CaseResult, ToolResult } from "../results.ts";

export interface Comparison {
  readonly title: string;
  readonly ours: ToolResult;
  readonly theirs: ToolResult;
  readonly ourSeconds: Summary;
  readonly theirSeconds: Summary;
  /** Our median through theirs: above 1 we are slower. */
  readonly ratio: number;
  readonly verdict: Verdict;
  /** The same of peak memory; undefined if it was not measured. */
  readonly memoryRatio: number | undefined;
}

/** The qemu-img that others are compared with: the first, which is the reference release. */
export function referenceOf({ tools }: CaseResult): ToolResult | undefined {
  return tools.find(({ kind }) => kind === "qemu");
}

/** Every one of ours against the reference, and against a library on the same version of Node.js. */
export function compareTools(results: BenchmarkResults): readonly Comparison[] {
  return results.cases.flatMap((result) => {
    const reference = referenceOf(result);
    const ours = result.tools.filter(({ kind }) => kind === "ours");
    return ours.flatMap((tool) => {
      const libraries = result.tools.filter(({ kind, node }) => kind === "library" && node === tool.node);
      const others = reference === undefined ? libraries : [reference, ...libraries];
      return others.map((theirs) => compare(result.title, tool, theirs));
    });
  });
}

function compare(title: string, ours: ToolResult, theirs: ToolResult): Comparison {
  const ourSeconds = summarize(ours.seconds);
  const theirSeconds = summarize(theirs.seconds);
  const measured = ours.peakBytes.length > 0 && theirs.peakBytes.length > 0;
  return {
    title,
    ours,
    theirs,
    ourSeconds,
    theirSeconds,
    ratio: ourSeconds.median / theirSeconds.median,
    verdict: judge(ourSeconds, theirSeconds),
    memoryRatio: measured ? summarize(ours.peakBytes).median / summarize(theirs.peakBytes).median : undefined,
  };
}
