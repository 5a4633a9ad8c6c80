/** How probable each symbol is, as the description of an FSE table tells it (RFC 8878, section 4.1.1). */
import type { BlockInput } from "./block-input.ts";

const MIN_LOG = 5;
/** A run of symbols that do not occur goes on behind a count of this many. */
const REPEAT_GOES_ON = 3;

export class FseDistribution {
  /** By symbol: entries of the table; -1 means one entry, at its end, for "less than one". */
  readonly counts: Int16Array = new Int16Array(256);
  /** Symbols that have a count. */
  symbols = 0;
  /** The table has 2^log entries. */
  log = 0;

  /** Takes a distribution that the format defines. */
  set(counts: readonly number[], log: number): void {
    this.counts.set(counts);
    this.symbols = counts.length;
    this.log = log;
  }

  /**
   * Reads the description at `start`; returns the index of the first byte behind it.
   * @throws ZstdError "corrupt" for more symbols or a larger table than there may be, counts that do not add up, or a
   *   description that goes on behind `end`
   */
  read(
    block: BlockInput,
    start: number,
    { end, maxLog, maxSymbol }: { readonly end: number; readonly maxLog: number; readonly maxSymbol: number },
  ): number {
    const { view } = block;
    if (start >= end) throw block.corrupt("A zstd FSE table without a description", start);
    const log = (view.getUint8(start) & 15) + MIN_LOG;
    if (log > maxLog) throw block.corrupt(`A zstd FSE table of 2^${log} entries`, start);
    let bit = start * 8 + 4;
    let remaining = 2 ** log;
    let symbol = 0;
    const peek = (bits: number): number =>
      (view.getUint32(bit >>> 3, true) >>> (bit & 7)) & ((1 << bits) - 1);
    while (remaining > 0) {
      if (symbol > maxSymbol) throw block.corrupt("A zstd FSE table with too many symbols", bit >>> 3);
      const bits = 32 - Math.clz32(remaining + 1);
      const low = peek(bits - 1);
      const spare = 2 ** bits - 2 - remaining;
      let value = low;
      if (low < spare) bit += bits - 1;
      else {
        value = peek(bits);
        if (value >= 2 ** (bits - 1)) value -= spare;
        bit += bits;
      }
      const count = value - 1;
      remaining -= Math.abs(count);
      this.counts[symbol++] = count;
      for (let repeat = count === 0 ? REPEAT_GOES_ON : 0; repeat === REPEAT_GOES_ON; ) {
        repeat = peek(2);
        bit += 2;
        if (symbol + repeat > maxSymbol + 1) {
          throw block.corrupt("A zstd FSE table with too many symbols", bit >>> 3);
        }
        for (let left = repeat; left > 0; left--) this.counts[symbol++] = 0;
      }
      if (bit > end * 8)
        throw block.corrupt("A zstd FSE table whose description goes on behind its end", end);
    }
    if (remaining < 0) throw block.corrupt("A zstd FSE table whose counts do not add up", bit >>> 3);
    this.symbols = symbol;
    this.log = log;
    return (bit + 7) >>> 3;
  }
}
