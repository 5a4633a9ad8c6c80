/**
 * Sequences (RFC 8878, sections 3.1.1.3.2 and 3.1.1.4): each copies some literals, then a match from what was decoded
 * before. Their codes are three FSE streams in one, which is read backwards.
 */
import type { ZstdError } from "../errors.ts";
import { type BlockInput, lastBitOf } from "./block-input.ts";
import { copyLiterals, copyMatch } from "./copy-bytes.ts";
import type { Literals } from "./literals.ts";
import { LITERAL_LENGTHS, MATCH_LENGTHS, OFFSETS } from "./sequence-codes.ts";
import { SequenceTable } from "./sequence-table.ts";

/** The count's first byte: from here on two bytes, and three for the last value. */
const TWO_BYTES = 128;
const THREE_BYTES = 255;
const THREE_BYTES_FROM = 0x7f00;
/** More bits than a word has when some are passed over; only offsets that no output reaches have them. */
const MAX_READ_BITS = 25;
/** What an offset may be without being stored (section 3.1.1.5). */
const FIRST_OFFSETS = [1, 4, 8] as const;

/** Where a block's output goes. */
export interface BlockOutput {
  readonly bytes: Uint8Array;
  /** Index of the block's first byte. */
  readonly start: number;
  /** The block must not write at or behind this index. */
  readonly end: number;
  /** Nothing but the caller's memory ends there: the frame may be right. */
  readonly endsWithRoom: boolean;
  /** Index of the first byte that matches may copy: where the frame begins. */
  readonly frameStart: number;
  readonly windowSize: number;
}

export class Sequences {
  readonly #literalLengths = new SequenceTable(LITERAL_LENGTHS);
  readonly #offsets = new SequenceTable(OFFSETS);
  readonly #matchLengths = new SequenceTable(MATCH_LENGTHS);
  /** The three offsets that were used last. */
  readonly #history = new Uint32Array(3);

  beginFrame(): void {
    this.#literalLengths.beginFrame();
    this.#offsets.beginFrame();
    this.#matchLengths.beginFrame();
    this.#history.set(FIRST_OFFSETS);
  }

  /**
   * Carries out the sequences whose section begins at `start` of the block; returns the index behind the last byte of
   * the output.
   * @throws ZstdError "corrupt"
   */
  execute(block: BlockInput, start: number, literals: Literals, output: BlockOutput): number {
    const { bytes } = block;
    block.assertWithin(start + 1);
    let at = start + 1;
    let count = bytes[start] as number;
    if (count === THREE_BYTES) {
      block.assertWithin(at + 2);
      count = (bytes[at] as number) + ((bytes[at + 1] as number) << 8) + THREE_BYTES_FROM;
      at += 2;
    } else if (count >= TWO_BYTES) {
      block.assertWithin(at + 1);
      count = ((count - TWO_BYTES) << 8) + (bytes[at] as number);
      at++;
    }
    if (count === 0) {
      if (at !== block.end) throw block.corrupt("A zstd block without sequences goes on behind its end", at);
      return copyRest(block, literals, 0, output.start, output);
    }
    at = this.#takeTables(block, at);
    return this.#run(block, at, count, literals, output);
  }

  /** Symbol_Compression_Modes (section 3.1.1.3.2.1) and the tables that follow. */
  #takeTables(block: BlockInput, at: number): number {
    block.assertWithin(at + 1);
    const modes = block.bytes[at] as number;
    if ((modes & 3) !== 0) throw block.corrupt("A zstd block with a reserved bit set", at);
    let next = at + 1;
    next = this.#literalLengths.take(block, modes >> 6, next);
    next = this.#offsets.take(block, (modes >> 4) & 3, next);
    return this.#matchLengths.take(block, (modes >> 2) & 3, next);
  }

  #run(block: BlockInput, start: number, count: number, literals: Literals, output: BlockOutput): number {
    const { view } = block;
    const { bytes, end, frameStart, windowSize } = output;
    const { transitions: literalTransitions, baselines: literalBaselines } = this.#literalLengths;
    const { transitions: matchTransitions, baselines: matchBaselines } = this.#matchLengths;
    const { transitions: offsetTransitions, baselines: offsetBaselines } = this.#offsets;
    const firstBit = start * 8;
    let bit = lastBitOf(block, start, block.end);
    const first = (log: number): number => {
      bit -= log;
      return (view.getUint32(bit >>> 3, true) >>> (bit & 7)) & ((1 << log) - 1);
    };
    let literalState = first(this.#literalLengths.log);
    let offsetState = first(this.#offsets.log);
    let matchState = first(this.#matchLengths.log);
    let offset1 = this.#history[0] as number;
    let offset2 = this.#history[1] as number;
    let offset3 = this.#history[2] as number;
    let at = output.start;
    let literalAt = 0;
    for (let left = count; ; ) {
      const literalTransition = literalTransitions[literalState] as number;
      const matchTransition = matchTransitions[matchState] as number;
      const offsetTransition = offsetTransitions[offsetState] as number;

      let width = offsetTransition >>> 24;
      if (width > MAX_READ_BITS) throw block.corrupt("A zstd match from before the output", start);
      bit -= width;
      let offset =
        (offsetBaselines[offsetState] as number) +
        ((view.getUint32(bit >>> 3, true) >>> (bit & 7)) & ((1 << width) - 1));
      width = matchTransition >>> 24;
      bit -= width;
      const matchLength =
        (matchBaselines[matchState] as number) +
        ((view.getUint32(bit >>> 3, true) >>> (bit & 7)) & ((1 << width) - 1));
      width = literalTransition >>> 24;
      bit -= width;
      const literalLength =
        (literalBaselines[literalState] as number) +
        ((view.getUint32(bit >>> 3, true) >>> (bit & 7)) & ((1 << width) - 1));
      if (bit < firstBit) throw block.corrupt("A zstd block whose sequences end early", start);

      if (offset > 3) {
        offset -= 3;
        offset3 = offset2;
        offset2 = offset1;
        offset1 = offset;
      } else {
        // Without literals before it, a match that repeats the last offset would have been part of the one before.
        const repeated = literalLength === 0 ? offset + 1 : offset;
        if (repeated === 1) offset = offset1;
        else {
          offset = repeated === 2 ? offset2 : repeated === 3 ? offset3 : offset1 - 1;
          if (repeated !== 2) offset3 = offset2;
          offset2 = offset1;
          offset1 = offset;
        }
      }
      const matchAt = at + literalLength;
      const reach = matchAt - frameStart;
      if (offset === 0 || offset > reach || offset > windowSize) {
        throw block.corrupt("A zstd match from before the output", start);
      }
      if (literalAt + literalLength > literals.length) {
        throw block.corrupt("A zstd block with more literals than it has", start);
      }
      if (matchAt + matchLength > end) throw tooMuch(block, output);
      if (literalLength > 0) {
        copyLiterals(bytes, at, { bytes: literals.bytes, from: literalAt, length: literalLength });
        literalAt += literalLength;
      }
      copyMatch(bytes, matchAt, offset, matchLength);
      at = matchAt + matchLength;
      if (--left === 0) break;

      width = (literalTransition >>> 16) & 0xff;
      bit -= width;
      literalState =
        (literalTransition & 0xffff) + ((view.getUint32(bit >>> 3, true) >>> (bit & 7)) & ((1 << width) - 1));
      width = (matchTransition >>> 16) & 0xff;
      bit -= width;
      matchState =
        (matchTransition & 0xffff) + ((view.getUint32(bit >>> 3, true) >>> (bit & 7)) & ((1 << width) - 1));
      width = (offsetTransition >>> 16) & 0xff;
      bit -= width;
      offsetState =
        (offsetTransition & 0xffff) + ((view.getUint32(bit >>> 3, true) >>> (bit & 7)) & ((1 << width) - 1));
    }
    if (bit !== firstBit) throw block.corrupt("A zstd block with more bits than its sequences have", start);
    this.#history[0] = offset1;
    this.#history[1] = offset2;
    this.#history[2] = offset3;
    return copyRest(block, literals, literalAt, at, output);
  }
}

/** The literals that no sequence took come last. */
function copyRest(
  block: BlockInput,
  literals: Literals,
  from: number,
  at: number,
  output: BlockOutput,
): number {
  const length = literals.length - from;
  if (at + length > output.end) throw tooMuch(block, output);
  if (length > 0) copyLiterals(output.bytes, at, { bytes: literals.bytes, from, length });
  return at + length;
}

function tooMuch(block: BlockInput, { endsWithRoom }: BlockOutput): ZstdError {
  return block.error(
    endsWithRoom ? "limit-exceeded" : "corrupt",
    `A zstd block that decodes to more than ${endsWithRoom ? "fits" : "it may"}`,
    block.start,
  );
}
