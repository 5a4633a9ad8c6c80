/** Decoding Huffman streams (RFC 8878, section 4.2.2): the loops in which compressed literals spend their time. */
import { type BlockInput, lastBitOf } from "./block-input.ts";
import { type HuffmanTable, MAX_HUFFMAN_BITS } from "./huffman-table.ts";

/** Two symbols fit into a word of 32 bits, of which up to 7 are passed over. */
const PAIR_BITS = 2 * MAX_HUFFMAN_BITS;

/** A stream of a block, and where its symbols go. Indexes into the block's bytes and into the output; ends exclusive. */
interface HuffmanStream {
  readonly start: number;
  readonly end: number;
  readonly outputStart: number;
  readonly outputEnd: number;
}

/** @throws ZstdError "corrupt" unless the stream has exactly the bits of its symbols */
export function decodeHuffmanStream(
  block: BlockInput,
  { entries, maxBits }: HuffmanTable,
  output: Uint8Array,
  { start, end, outputStart, outputEnd }: HuffmanStream,
): void {
  const { view } = block;
  const mask = (1 << maxBits) - 1;
  const firstShift = PAIR_BITS - maxBits;
  const firstBit = start * 8;
  let bit = lastBitOf(block, start, end);
  let at = outputStart;
  for (const pairsEnd = outputEnd - 1; at < pairsEnd && bit >= firstBit; at += 2) {
    const from = bit - PAIR_BITS;
    const word = view.getUint32(from >>> 3, true) >>> (from & 7);
    const first = entries[(word >>> firstShift) & mask] as number;
    const shift = firstShift - (first & 15);
    const second = entries[(word >>> shift) & mask] as number;
    output[at] = first >>> 4;
    output[at + 1] = second >>> 4;
    bit -= (first & 15) + (second & 15);
  }
  if (at < outputEnd && bit >= firstBit) {
    const from = bit - maxBits;
    const entry = entries[(view.getUint32(from >>> 3, true) >>> (from & 7)) & mask] as number;
    output[at++] = entry >>> 4;
    bit -= entry & 15;
  }
  if (bit !== firstBit || at !== outputEnd) {
    throw block.corrupt("A zstd Huffman stream that does not have as many bits as its symbols", start);
  }
}
