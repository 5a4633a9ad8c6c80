/** Decoding frames into memory of the caller's (RFC 8878, section 3.1). */
import { ZstdError } from "../errors.ts";
import {
  assertWithin,
  BLOCK_HEADER_BYTES,
  BLOCK_RLE,
  blockSize,
  blockType,
  type FrameHeader,
  isLastBlock,
  MAX_BLOCK_BYTES,
  readBlockHeader,
  readFrameHeader,
} from "../frame.ts";
import { xxHash64Low32 } from "../xxhash64.ts";
import { BlockInput } from "./block-input.ts";
import { Literals } from "./literals.ts";
import { Sequences } from "./sequences.ts";

/** What libzstd accepts unless it is told otherwise: 2^27 bytes. */
const DEFAULT_MAX_WINDOW_BYTES: number = 2 ** 27;
const BLOCK_RAW = 0;
const CHECKSUM_BYTES = 4;

export interface DecompressOptions {
  /** Where the content goes; what the frames decode to must fit. */
  readonly into: Uint8Array;
  /** The largest window that a frame may ask for, in bytes, although none is allocated. Default 2^27. */
  readonly maxWindowBytes?: number | undefined;
  /**
   * Do not look at what follows the frame with which `into` is full: it may be anything. Default false: then the input
   * has to end with a frame.
   */
  readonly ignoreRest?: boolean | undefined;
}

export interface DecompressResult {
  /** Bytes of the input that were decoded: up to the end of a frame. */
  readonly inputLength: number;
  /** Bytes at the start of `into` that hold content. */
  readonly outputLength: number;
}

/**
 * Decodes frames, one after the other, skippable ones included. What is behind the content in `into`, or after an error
 * all of it, holds anything. The work is bounded by input and output together.
 * @throws ZstdError "truncated", "corrupt" (also for a wrong checksum), "limit-exceeded" (more content than fits, or too
 *   large a window), "unsupported" (a dictionary)
 */
export function decompress(input: Uint8Array, options: DecompressOptions): DecompressResult {
  decoder ??= new Decoder();
  return decoder.decode(input, options);
}

/** Made when it is first needed, about 300 KiB; decoding is synchronous, so that one is enough. */
let decoder: Decoder | undefined;

class Decoder {
  readonly #block = new BlockInput();
  readonly #literals = new Literals();
  readonly #sequences = new Sequences();

  decode(
    input: Uint8Array,
    { into, maxWindowBytes = DEFAULT_MAX_WINDOW_BYTES, ignoreRest = false }: DecompressOptions,
  ): DecompressResult {
    let at = 0;
    let done = 0;
    while (ignoreRest ? done < into.length : at < input.length) {
      const header = readFrameHeader(input, at);
      if (header.kind === "skippable") {
        at = header.blocksStart;
        continue;
      }
      if (header.contentSize === undefined && header.windowSize > maxWindowBytes) {
        const message = `A zstd window of ${header.windowSize} bytes`;
        throw new ZstdError("limit-exceeded", message, at);
      }
      const frame = this.#decodeFrame(input, header, into, done);
      at = frame.inputEnd;
      done = frame.outputEnd;
    }
    return { inputLength: at, outputLength: done };
  }

  #decodeFrame(
    input: Uint8Array,
    { blocksStart, contentSize, windowSize, hasChecksum }: FrameHeader,
    into: Uint8Array,
    frameStart: number,
  ): { readonly inputEnd: number; readonly outputEnd: number } {
    const room = into.length - frameStart;
    if (contentSize !== undefined && contentSize > room) {
      throw new ZstdError(
        "limit-exceeded",
        `A zstd frame of ${contentSize} bytes where ${room} fit`,
        blocksStart,
      );
    }
    this.#literals.beginFrame();
    this.#sequences.beginFrame();
    const maxBlock = Math.min(windowSize, MAX_BLOCK_BYTES);
    const limit = frameStart + (contentSize ?? room);
    let at = blocksStart;
    let done = frameStart;
    for (let isLast = false; !isLast; ) {
      const header = readBlockHeader(input, at);
      const size = blockSize(header);
      if (size > maxBlock) throw new ZstdError("corrupt", `A zstd block of ${size} bytes`, at);
      at += BLOCK_HEADER_BYTES;
      isLast = isLastBlock(header);
      const isRle = blockType(header) === BLOCK_RLE;
      const end = at + (isRle ? 1 : size);
      assertWithin(input, end);
      if (blockType(header) === BLOCK_RAW || isRle) {
        if (done + size > limit) throw tooMuch(contentSize, at);
        if (isRle) into.fill(input[at] as number, done, done + size);
        else into.set(input.subarray(at, end), done);
        done += size;
      } else {
        this.#block.load(input, at, size);
        const sequences = this.#literals.read(this.#block, maxBlock);
        const blockEnd = Math.min(limit, done + maxBlock);
        const endsWithRoom = contentSize === undefined && blockEnd === into.length;
        const output = { bytes: into, start: done, end: blockEnd, endsWithRoom, frameStart, windowSize };
        done = this.#sequences.execute(this.#block, sequences, this.#literals, output);
      }
      at = end;
    }
    if (contentSize !== undefined && done - frameStart !== contentSize) {
      throw new ZstdError("corrupt", "A zstd frame that does not decode to the size it states", at);
    }
    if (!hasChecksum) return { inputEnd: at, outputEnd: done };
    assertWithin(input, at + CHECKSUM_BYTES);
    const stored = new DataView(input.buffer, input.byteOffset, input.byteLength).getUint32(at, true);
    if (xxHash64Low32(into.subarray(frameStart, done)) !== stored) {
      throw new ZstdError("corrupt", "A zstd frame whose checksum does not match", at);
    }
    return { inputEnd: at + CHECKSUM_BYTES, outputEnd: done };
  }
}

function tooMuch(contentSize: number | undefined, at: number): ZstdError {
  if (contentSize === undefined)
    return new ZstdError("limit-exceeded", "A zstd frame with more than fits", at);
  return new ZstdError("corrupt", "A zstd frame that decodes to more than it states", at);
}
