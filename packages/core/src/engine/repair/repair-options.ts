import type { CheckFinding, CheckOptions, CheckResult } from "../check-result.ts";

export interface RepairOptions extends CheckOptions {
  /**
   * "leaks": give back clusters that nothing refers to, and put COPIED flags right if nothing else is wrong. "all":
   * everything that can be repaired.
   */
  readonly what: "leaks" | "all";
  /**
   * Give up snapshots whose L1 table cannot be read, and what of the snapshot table cannot be read; with what: "all".
   * Default false: they are left as they are, and no space is given back as long as it may be theirs.
   */
  readonly discardSnapshots?: boolean | undefined;
  /** Give up persistent bitmaps that cannot be read; as `discardSnapshots`. */
  readonly discardBitmaps?: boolean | undefined;
  /** Called with a line for people for each refcount and flag that is put right, as `qemu-img check -r` prints it. */
  readonly onRepair?: ((message: string) => void) | undefined;
  /** Called for each finding of the check after something was put right. */
  readonly onRemaining?: ((finding: CheckFinding) => void) | undefined;
}

/** Something that a repair cannot put right. */
export interface Irreparable {
  /** "snapshot-table", "bitmap-directory": all of it that could not be read. */
  readonly kind: "snapshot" | "snapshot-table" | "bitmap" | "bitmap-directory";
  /** Of snapshots. */
  readonly id?: string;
  readonly name?: string;
  /** What is wrong with it, in words for people. */
  readonly reason: string;
}

export interface RepairResult {
  /** What was wrong. */
  readonly before: CheckResult;
  /** What is wrong now. */
  readonly after: CheckResult;
  /** Entries that were put right: what follows from one mistake may take more than one. */
  readonly corruptionsFixed: number;
  readonly leaksFixed: number;
  /** What cannot be read and was left untouched; it keeps whatever could be its own from being given back. */
  readonly left: readonly Irreparable[];
  /** What was given up because `discardSnapshots` or `discardBitmaps` asked for it. */
  readonly discarded: readonly Irreparable[];
}
