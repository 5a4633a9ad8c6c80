/** A Huffman code as a table (RFC 8878, section 4.2): the next bits are the index of a symbol and of its length. */
import type { BlockInput } from "./block-input.ts";
import { HuffmanWeights } from "./huffman-weights.ts";

/** No symbol has more bits (section 4.2.1). */
export const MAX_HUFFMAN_BITS = 11;

export class HuffmanTable {
  /** By the next {@link maxBits} bits: the symbol times 16, plus its number of bits. */
  readonly entries: Uint16Array = new Uint16Array(2 ** MAX_HUFFMAN_BITS);
  /** 0 until a code was read. */
  maxBits = 0;
  readonly #weights = new HuffmanWeights();
  readonly #starts = new Uint16Array(MAX_HUFFMAN_BITS + 2);

  /** Forgets the code: the next frame begins without one. */
  clear(): void {
    this.maxBits = 0;
  }

  /**
   * Reads the description at `start`, which may go on to `end`; returns the index of the first byte behind it.
   * @throws ZstdError "corrupt" for a code that is not complete, or has symbols of more than 11 bits
   */
  read(block: BlockInput, start: number, end: number): number {
    this.maxBits = 0;
    const behind = this.#weights.read(block, start, end);
    const { weights, count } = this.#weights;
    let sum = 0;
    for (let symbol = 0; symbol < count; symbol++) {
      const weight = weights[symbol] as number;
      if (weight > 0) sum += 2 ** (weight - 1);
    }
    // The weight of the last symbol makes the sum a power of two.
    const maxBits = 32 - Math.clz32(sum);
    const rest = 2 ** maxBits - sum;
    if (sum === 0 || maxBits > MAX_HUFFMAN_BITS || (rest & (rest - 1)) !== 0) {
      throw block.corrupt("A zstd Huffman code that is not complete", start);
    }
    weights[count] = 32 - Math.clz32(rest);
    this.#fill(block, { symbols: count + 1, maxBits, at: start });
    this.maxBits = maxBits;
    return behind;
  }

  /** Symbols in the order of their weights, then of their values; each takes 2^(weight - 1) entries. */
  #fill(
    block: BlockInput,
    { symbols, maxBits, at }: { readonly symbols: number; readonly maxBits: number; readonly at: number },
  ): void {
    const { weights } = this.#weights;
    const starts = this.#starts.fill(0);
    for (let symbol = 0; symbol < symbols; symbol++) {
      const weight = weights[symbol] as number;
      if (weight > 0) starts[weight + 1] = (starts[weight + 1] as number) + 2 ** (weight - 1);
    }
    // A complete code has two symbols of the greatest length at least.
    if ((starts[2] as number) < 2) throw block.corrupt("A zstd Huffman code that is not complete", at);
    for (let weight = 2; weight < starts.length; weight++) {
      starts[weight] = (starts[weight] as number) + (starts[weight - 1] as number);
    }
    for (let symbol = 0; symbol < symbols; symbol++) {
      const weight = weights[symbol] as number;
      if (weight === 0) continue;
      const first = starts[weight] as number;
      const end = first + 2 ** (weight - 1);
      this.entries.fill((symbol << 4) | (maxBits + 1 - weight), first, end);
      starts[weight] = end;
    }
  }
}
