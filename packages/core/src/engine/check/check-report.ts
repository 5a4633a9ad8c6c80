/** Counts what a check finds and hands each finding on; nothing is kept, so memory does not grow with the damage. */
import type { CheckFinding } from "../check-result.ts";

/** Where a finding lies and what to say about it; made only if somebody listens. */
export interface FindingDetails {
  readonly message: string;
  readonly hostOffset?: number;
  readonly guestOffset?: number;
  readonly refcountBlock?: number;
  readonly overlaps?: boolean;
}

/** Findings that are kept until they are told, at most. */
const MAX_LATE_FINDINGS = 4096;

export class CheckReport {
  corruptions = 0;
  leaks = 0;
  checkErrors = 0;
  allocatedClusters = 0;
  fragmentedClusters = 0;
  compressedClusters = 0;
  readonly #onFinding: ((finding: CheckFinding) => void) | undefined;
  readonly #late: CheckFinding[] = [];
  readonly #tellsLate: boolean;

  constructor(
    onFinding: ((finding: CheckFinding) => void) | undefined,
    { tellsLate = true }: { readonly tellsLate?: boolean | undefined } = {},
  ) {
    this.#onFinding = onFinding;
    this.#tellsLate = tellsLate;
  }

  /** Counts a finding `times` over (a table that is referenced twice has each of its errors twice), and tells it once. */
  add(
    severity: CheckFinding["severity"],
    code: CheckFinding["code"],
    details: () => FindingDetails,
    times: number = 1,
  ): void {
    this.#count(severity, times);
    if (this.#onFinding !== undefined) this.#onFinding({ severity, code, ...details() });
  }

  /**
   * As {@link add}, for what follows from wrong refcounts and is told after them. If there is more of it than can be kept,
   * the rest is told at once: only the order suffers.
   */
  addLate(code: CheckFinding["code"], details: () => FindingDetails, times: number): void {
    this.#count("corruption", times);
    if (this.#onFinding === undefined || !this.#tellsLate) return;
    const finding: CheckFinding = { severity: "corruption", code, ...details() };
    if (this.#late.length < MAX_LATE_FINDINGS) this.#late.push(finding);
    else this.#onFinding(finding);
  }

  tellLate(): void {
    for (const finding of this.#late.splice(0)) this.#onFinding?.(finding);
  }

  #count(severity: CheckFinding["severity"], times: number): void {
    if (severity === "corruption") this.corruptions += times;
    else if (severity === "leak") this.leaks += times;
    else this.checkErrors += times;
  }
}

/** A host offset or an entry for messages. */
export function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}

/** As C prints `%#x`: 0 has no prefix. */
export function alternateHex(value: number | bigint): string {
  return value === 0 || value === 0n ? "0" : hex(value);
}

/** A 64-bit entry from its halves, hexadecimal without a prefix, for messages. */
export function hexHalves(high: number, low: number): string {
  return ((BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)).toString(16);
}
