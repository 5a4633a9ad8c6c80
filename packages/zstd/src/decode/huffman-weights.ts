/** The weights that describe a Huffman code (RFC 8878, section 4.2.1): stored as they are, or in an FSE stream. */
import { type BlockInput, lastBitOf } from "./block-input.ts";
import { FseDistribution } from "./fse-distribution.ts";
import { buildFseStates } from "./fse-states.ts";

/** A description's first byte, from here on: that many weights, of four bits each, follow. */
const FIRST_DIRECT = 128;
/** Of the FSE table (section 4.2.1.2). */
const MAX_LOG = 6;
const MAX_WEIGHT = 11;
/** The last symbol's weight follows from the others. */
const MAX_STORED = 255;

export class HuffmanWeights {
  readonly weights: Uint8Array = new Uint8Array(256);
  /** Weights that were read; one more follows from them. */
  count = 0;
  readonly #distribution = new FseDistribution();
  readonly #symbols = new Uint8Array(2 ** MAX_LOG);
  readonly #bits = new Uint8Array(2 ** MAX_LOG);
  readonly #bases = new Uint16Array(2 ** MAX_LOG);

  /**
   * Reads the description at `start`, which may go on to `end`; returns the index of the first byte behind it.
   * @throws ZstdError "corrupt"
   */
  read(block: BlockInput, start: number, end: number): number {
    if (start >= end) throw block.corrupt("A zstd Huffman code without a description", start);
    const header = block.bytes[start] as number;
    const first = start + 1;
    if (header >= FIRST_DIRECT) {
      this.count = header - (FIRST_DIRECT - 1);
      const behind = first + ((this.count + 1) >> 1);
      if (behind > end) throw block.corrupt("A zstd Huffman code that goes on behind its end", end);
      for (let index = 0; index < this.count; index++) {
        const pair = block.bytes[first + (index >> 1)] as number;
        this.weights[index] = (index & 1) === 0 ? pair >> 4 : pair & 15;
      }
      return behind;
    }
    const behind = first + header;
    if (behind > end) throw block.corrupt("A zstd Huffman code that goes on behind its end", end);
    this.#readStream(block, first, behind);
    return behind;
  }

  /** Two states that take turns, until a state needs more bits than are left: then the other has the last symbol. */
  #readStream(block: BlockInput, first: number, end: number): void {
    const { view } = block;
    const limits = { end, maxLog: MAX_LOG, maxSymbol: MAX_WEIGHT };
    const start = this.#distribution.read(block, first, limits);
    buildFseStates(this.#distribution, { symbols: this.#symbols, bits: this.#bits, bases: this.#bases });
    const { log } = this.#distribution;
    let bit = lastBitOf(block, start, end);
    const read = (bits: number): number => {
      bit -= bits;
      // What lies before the stream counts as zeroes.
      const missing = Math.max(0, Math.min(bits, start * 8 - bit));
      const value = (view.getUint32(bit >>> 3, true) >>> (bit & 7)) & ((1 << bits) - 1);
      return (value >> missing) << missing;
    };
    let current = read(log);
    let other = read(log);
    if (bit < start * 8) throw block.corrupt("A zstd Huffman code that ends early", first);
    this.count = 0;
    for (;;) {
      this.#add(block, current, first);
      current = (this.#bases[current] as number) + read(this.#bits[current] as number);
      if (bit < start * 8) break;
      [current, other] = [other, current];
    }
    this.#add(block, other, first);
  }

  #add(block: BlockInput, state: number, at: number): void {
    if (this.count >= MAX_STORED) throw block.corrupt("A zstd Huffman code with too many symbols", at);
    this.weights[this.count++] = this.#symbols[state] as number;
  }
}
