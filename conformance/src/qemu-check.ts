import type { CheckResult } from "@qcow2/core";

/** What `qemu-img check --output=json` says, the file's name and format aside; absent counts are zero. */
export interface QemuCheckCounts {
  readonly corruptions: number;
  readonly leaks: number;
  readonly checkErrors: number;
  readonly totalClusters: number;
  readonly allocatedClusters: number;
  readonly fragmentedClusters: number;
  readonly compressedClusters: number;
  readonly imageEndOffset: number;
}

export function qemuCheckCounts(json: string): QemuCheckCounts {
  const answer = JSON.parse(json) as Record<string, number | undefined>;
  return {
    corruptions: answer.corruptions ?? 0,
    leaks: answer.leaks ?? 0,
    checkErrors: answer["check-errors"] ?? 0,
    totalClusters: answer["total-clusters"] ?? 0,
    allocatedClusters: answer["allocated-clusters"] ?? 0,
    fragmentedClusters: answer["fragmented-clusters"] ?? 0,
    compressedClusters: answer["compressed-clusters"] ?? 0,
    imageEndOffset: answer["image-end-offset"] ?? 0,
  };
}

export function ourCheckCounts(result: CheckResult): QemuCheckCounts {
  return {
    corruptions: result.corruptions,
    leaks: result.leaks,
    checkErrors: result.checkErrors,
    totalClusters: result.totalClusters,
    allocatedClusters: result.allocatedClusters,
    fragmentedClusters: result.fragmentedClusters,
    compressedClusters: result.compressedClusters,
    imageEndOffset: result.imageEndOffset,
  };
}
