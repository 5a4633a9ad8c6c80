/** Reads L2 tables in the order of their offsets and has each one checked. */
import type { CheckContext } from "./check-context.ts";
import { L2TableChecker } from "./l2-table-checker.ts";
import type { L2Tables } from "./l2-table-set.ts";
import { readTableRuns } from "./table-runs.ts";

/** Counts what the tables refer to within the window; the first pass also checks their entries. */
export async function checkL2Tables(context: CheckContext, tables: L2Tables): Promise<void> {
  const { storage, geometry, window, report, signal } = context;
  const checker = new L2TableChecker(context);
  for await (const run of readTableRuns({
    storage,
    count: tables.count,
    offsetAt: (index) => tables.offsets[index] as number,
    tableBytes: geometry.clusterSize,
    signal,
  })) {
    for (let index = run.first; index < run.end; index++) {
      const offset = tables.offsets[index] as number;
      if (run.failure === undefined) {
        checker.check({
          offset,
          view: run.view,
          start: offset - run.fileOffset,
          active: tables.activeWeights[index] as number,
          total: tables.totalWeights[index] as number,
        });
        if (checker.needsRefcounts) await checker.checkCopiedFlags();
      } else if (window.isFirstPass) {
        const cause = run.failure;
        report.add("error", "read-error", () => ({
          message: `ERROR: Could not read L2 table: ${cause.message}`,
          hostOffset: offset,
          cause,
        }));
      }
    }
    context.onPassProgress(run.end / tables.count);
  }
}
