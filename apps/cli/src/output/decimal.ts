/**
 * The number with `digits` decimals as C prints it: exact ties go to the even digit ("1.12" for 1.125), where
 * `toFixed` takes the larger.
 */
export function formatFixed(value: number, digits: number): string {
  const rounded = value.toFixed(digits);
  // A tie has few binary decimals, so it is written out in full here; other values merely do not match.
  const exact = value.toFixed(60);
  const cut = exact.indexOf(".") + digits;
  const isTie = /^50*$/.test(exact.slice(exact.indexOf(".") + 1 + digits));
  if (!isTie) return rounded;
  const kept = exact.slice(0, digits === 0 ? exact.indexOf(".") : cut + 1);
  return Number(kept.at(-1)) % 2 === 0 ? kept : rounded;
}
