/** The part of a disk's virtual size that it takes on the host, both in bytes: "6%", or "<1%". */
export function usedShare({
  virtualSize,
  actualSize,
}: {
  readonly virtualSize: number;
  readonly actualSize: number;
}): string {
  const percent = (actualSize * 100) / virtualSize;
  return percent > 0 && percent < 1 ? "<1%" : `${Math.round(percent)}%`;
}
