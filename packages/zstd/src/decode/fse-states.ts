/** The states of an FSE decoder (RFC 8878, section 4.1.1): for each, its symbol and how to get to the next. */
import type { FseDistribution } from "./fse-distribution.ts";

/** Reused between builds: what becomes of each symbol's next state. */
const nextState: Uint16Array = new Uint16Array(256);

/**
 * Spreads the symbols over the states. `symbols`, `bits` and `bases` have room for 2^log entries: the symbol of a state,
 * the number of bits to read for the next state, and what to add to them.
 */
export function buildFseStates(
  { counts, symbols: symbolCount, log }: FseDistribution,
  {
    symbols,
    bits,
    bases,
  }: { readonly symbols: Uint8Array; readonly bits: Uint8Array; readonly bases: Uint16Array },
): void {
  const size = 2 ** log;
  let end = size;
  for (let symbol = 0; symbol < symbolCount; symbol++) {
    const count = counts[symbol] as number;
    if (count === -1) symbols[--end] = symbol;
    nextState[symbol] = count === -1 ? 1 : count;
  }
  const step = (size >> 1) + (size >> 3) + 3;
  let at = 0;
  for (let symbol = 0; symbol < symbolCount; symbol++) {
    for (let left = counts[symbol] as number; left > 0; left--) {
      symbols[at] = symbol;
      do at = (at + step) & (size - 1);
      while (at >= end);
    }
  }
  for (let state = 0; state < size; state++) {
    const symbol = symbols[state] as number;
    const next = nextState[symbol] as number;
    nextState[symbol] = next + 1;
    const width = log - (31 - Math.clz32(next));
    bits[state] = width;
    bases[state] = (next << width) - size;
  }
}
