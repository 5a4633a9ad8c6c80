/** One compressed block, copied to where reading some bytes before and behind it does no harm. */
import { ZstdError, type ZstdErrorCode } from "../errors.ts";
import { MAX_BLOCK_BYTES } from "../frame.ts";

/** Bit streams are read in whole words, and checked afterwards: the words may reach over the block's ends. */
const PADDING = 64;

export class BlockInput {
  readonly bytes: Uint8Array = new Uint8Array(PADDING + MAX_BLOCK_BYTES + PADDING);
  readonly view: DataView = new DataView(this.bytes.buffer);
  /** Index of the block's first byte in {@link bytes}. */
  readonly start: number = PADDING;
  /** Index behind the block's last byte. */
  end: number = PADDING;
  /** Where the block lies in the input, for messages. */
  #position = 0;

  /** Takes `length` bytes of `input` from `at`. */
  load(input: Uint8Array, at: number, length: number): void {
    this.#position = at;
    this.end = this.start + length;
    if (length > 0) this.bytes.set(input.subarray(at, at + length), this.start);
  }

  /** An error about the byte at `index`. */
  error(code: ZstdErrorCode, message: string, index: number): ZstdError {
    const offset = Math.min(Math.max(index, this.start), this.end) - this.start;
    return new ZstdError(code, message, this.#position + offset);
  }

  corrupt(message: string, index: number): ZstdError {
    return this.error("corrupt", message, index);
  }

  /** @throws ZstdError "corrupt" unless the block has bytes up to `end` */
  assertWithin(end: number): void {
    if (end > this.end) throw this.corrupt("A zstd block ends within one of its parts", this.end);
  }
}

/**
 * The number of bits before the end mark of a stream that is read backwards, as a bit index in the block: the highest bit
 * that is set in its last byte is the mark (RFC 8878, section 4.1).
 * @throws ZstdError "corrupt" if the stream is empty or has no mark
 */
export function lastBitOf(block: BlockInput, start: number, end: number): number {
  const last = end > start ? (block.bytes[end - 1] as number) : 0;
  if (last === 0) throw block.corrupt("A zstd bit stream without an end mark", end - 1);
  return (end - 1) * 8 + (31 - Math.clz32(last));
}
