import type { CheckFinding, CheckOptions, CheckResult } from "../check-result.ts";

export interface RepairOptions extends CheckOptions {
  /**
   * "leaks": give back clusters that nothing refers to, and put COPIED flags right if nothing else is wrong. "all":
   * everything that can be repaired.
   */
  readonly what: "leaks" | "all";
  /** Called with a line for people for each refcount and flag that is put right, as `qemu-img check -r` prints it. */
  readonly onRepair?: ((message: string) => void) | undefined;
  /** Called for each finding of the check after something was put right. */
  readonly onRemaining?: ((finding: CheckFinding) => void) | undefined;
}

export interface RepairResult {
  /** What was wrong. */
  readonly before: CheckResult;
  /** What is wrong now. */
  readonly after: CheckResult;
  /** Entries that were put right: what follows from one mistake may take more than one. */
  readonly corruptionsFixed: number;
  readonly leaksFixed: number;
}
