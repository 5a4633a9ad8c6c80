/** The literals of a block (RFC 8878, section 3.1.1.3.1): bytes that sequences copy from. */
import { MAX_BLOCK_BYTES } from "../frame.ts";
import type { BlockInput } from "./block-input.ts";
import { decodeHuffmanStream } from "./huffman-stream.ts";
import { HuffmanTable } from "./huffman-table.ts";

const RAW = 0;
const RLE = 1;
const TREELESS = 3;
/** The sizes of the first three of four streams. */
const JUMP_TABLE_BYTES = 6;
/** Fewer are not divided into four streams. */
const MIN_LITERALS_OF_FOUR_STREAMS = 6;
/** A copy of a few bytes more than asked for stays in the buffer. */
const SPARE_BYTES = 64;

/** The first bits of the section, and what its literals may be at most. */
interface SectionOptions {
  readonly type: number;
  readonly format: number;
  readonly maxLength: number;
}

export class Literals {
  readonly bytes: Uint8Array = new Uint8Array(MAX_BLOCK_BYTES + SPARE_BYTES);
  length = 0;
  readonly #table = new HuffmanTable();

  /** A new frame begins without a Huffman code. */
  beginFrame(): void {
    this.#table.clear();
  }

  /**
   * Reads the literals section at the block's start; returns the index of the first byte behind it.
   * @throws ZstdError "corrupt"
   */
  read(block: BlockInput, maxLength: number): number {
    const { bytes, start } = block;
    block.assertWithin(start + 1);
    const type = (bytes[start] as number) & 3;
    const format = ((bytes[start] as number) >> 2) & 3;
    if (type === RAW || type === RLE) return this.#readPlain(block, { type, format, maxLength });
    return this.#readCompressed(block, { type, format, maxLength });
  }

  #readPlain(block: BlockInput, { type, format, maxLength }: SectionOptions): number {
    const { bytes, view, start } = block;
    const headerBytes = (format & 1) === 0 ? 1 : format === 1 ? 2 : 3;
    const at = start + headerBytes;
    const header = view.getUint32(start, true) & (2 ** (8 * headerBytes) - 1);
    const length = headerBytes === 1 ? header >> 3 : header >> 4;
    this.#begin(block, length, maxLength);
    const end = at + (type === RLE ? 1 : length);
    block.assertWithin(end);
    if (type === RLE) this.bytes.fill(bytes[at] as number, 0, length);
    else this.bytes.set(bytes.subarray(at, end));
    return end;
  }

  #readCompressed(block: BlockInput, { type, format, maxLength }: SectionOptions): number {
    const { view, start } = block;
    const sizeBits = format <= 1 ? 10 : format === 2 ? 14 : 18;
    const headerBytes = format <= 1 ? 3 : format + 2;
    const mask = 2 ** sizeBits - 1;
    const length = (view.getUint32(start, true) >>> 4) & mask;
    // 4 + sizeBits is at most 22: the second size lies within four bytes from the third one on.
    const shift = 4 + sizeBits - 8;
    const storedLength = (view.getUint32(start + 1, true) >>> shift) & mask;
    const first = start + headerBytes;
    const end = first + storedLength;
    block.assertWithin(end);
    this.#begin(block, length, maxLength);
    let at = first;
    if (type !== TREELESS) at = this.#table.read(block, first, end);
    else if (this.#table.maxBits === 0) {
      throw block.corrupt("A zstd block that repeats a Huffman code where none was", start);
    }
    if (format === 0) this.#readStream(block, [at, end], [0, length]);
    else this.#readFourStreams(block, [at, end], length);
    return end;
  }

  #readFourStreams(block: BlockInput, [start, end]: readonly [number, number], length: number): void {
    const { view } = block;
    let at = start + JUMP_TABLE_BYTES;
    if (at > end || length < MIN_LITERALS_OF_FOUR_STREAMS) {
      throw block.corrupt("A zstd block whose literals are too few for four streams", start);
    }
    const perStream = (length + 3) >> 2;
    for (let stream = 0; stream < 4; stream++) {
      const streamEnd = stream === 3 ? end : at + view.getUint16(start + 2 * stream, true);
      if (streamEnd > end) throw block.corrupt("A zstd Huffman stream that goes on behind its end", start);
      const outputStart = stream * perStream;
      const outputEnd = stream === 3 ? length : outputStart + perStream;
      this.#readStream(block, [at, streamEnd], [outputStart, outputEnd]);
      at = streamEnd;
    }
  }

  #readStream(
    block: BlockInput,
    [start, end]: readonly [number, number],
    [outputStart, outputEnd]: readonly [number, number],
  ): void {
    decodeHuffmanStream(block, this.#table, this.bytes, { start, end, outputStart, outputEnd });
  }

  #begin(block: BlockInput, length: number, maxLength: number): void {
    if (length > maxLength) {
      throw block.corrupt(
        `A zstd block of ${length} literals where ${maxLength} bytes are the most`,
        block.start,
      );
    }
    this.length = length;
  }
}
