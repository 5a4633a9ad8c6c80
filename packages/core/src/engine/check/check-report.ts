/** Counts what a check finds and hands each finding on; nothing is kept, so memory does not grow with the damage. */
import type { CheckFinding } from "../check-result.ts";

/** Where a finding lies and what to say about it; made only if somebody listens. */
export interface FindingDetails {
  readonly message: string;
  readonly hostOffset?: number;
  readonly guestOffset?: number;
  readonly overlaps?: boolean;
}

export class CheckReport {
  corruptions = 0;
  leaks = 0;
  checkErrors = 0;
  allocatedClusters = 0;
  fragmentedClusters = 0;
  compressedClusters = 0;
  readonly #onFinding: ((finding: CheckFinding) => void) | undefined;

  constructor(onFinding: ((finding: CheckFinding) => void) | undefined) {
    this.#onFinding = onFinding;
  }

  /** Counts a finding `times` over (a table that is referenced twice has each of its errors twice), and tells it once. */
  add(
    severity: CheckFinding["severity"],
    code: CheckFinding["code"],
    details: () => FindingDetails,
    times: number = 1,
  ): void {
    if (severity === "corruption") this.corruptions += times;
    else if (severity === "leak") this.leaks += times;
    else this.checkErrors += times;
    if (this.#onFinding !== undefined) this.#onFinding({ severity, code, ...details() });
  }
}

/** A host offset or an entry for messages. */
export function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}

/** A 64-bit entry from its halves, for messages. */
export function hexHalves(high: number, low: number): string {
  return hex((BigInt(high >>> 0) << 32n) | BigInt(low >>> 0));
}
