/**
 * Frames (RFC 8878, section 3.1): what a header says, and where the frame ends, without decoding its blocks. Several
 * frames may follow each other, and something else may follow the last.
 */
import { ZstdError } from "./errors.ts";

const FRAME_MAGIC = 0xfd2fb528;
/** Skippable frames have magics 0x184D2A50 to 0x184D2A5F (section 3.1.2). */
const SKIPPABLE_MAGIC = 0x184d2a50;
const MAGIC_BYTES = 4;
const SKIPPABLE_HEADER_BYTES = 8;
const CHECKSUM_BYTES = 4;
export const BLOCK_HEADER_BYTES = 3;
/** No block has more bytes than this, neither stored nor decoded (section 3.1.1.2.4). */
export const MAX_BLOCK_BYTES: number = 128 * 1024;
export const BLOCK_RLE = 1;
const BLOCK_RESERVED = 3;

/** Frame_Header_Descriptor (section 3.1.1.1.1). */
const SINGLE_SEGMENT = 0x20;
const RESERVED_BIT = 0x08;
const HAS_CHECKSUM = 0x04;
const MIN_WINDOW_LOG = 10;
/** libzstd refuses larger windows, too, whatever it is told. */
const MAX_WINDOW_LOG = 31;
const DICTIONARY_ID_BYTES = [0, 1, 2, 4] as const;

export interface FrameHeader {
  readonly kind: "data" | "skippable";
  /** First byte of the first block; of a skippable frame, the first byte after it. */
  readonly blocksStart: number;
  readonly hasChecksum: boolean;
  /** Bytes that the frame says it decodes to (2^53 and more: not exact); undefined if it does not say. */
  readonly contentSize: number | undefined;
  /** Bytes that matches may look back. */
  readonly windowSize: number;
}

export interface ZstdFrame extends FrameHeader {
  /** First byte after the last block; the checksum, if any, lies here. */
  readonly blocksEnd: number;
  /** First byte after the frame. */
  readonly end: number;
}

/**
 * Finds the frame that begins at `start`, up to its end.
 * @throws ZstdError "corrupt" if there is none, "truncated" if it does not end within `input`, "limit-exceeded" for a window
 *   of 2^32 bytes or more, "unsupported" if it needs a dictionary
 */
export function readFrame(input: Uint8Array, start: number): ZstdFrame {
  const header = readFrameHeader(input, start);
  if (header.kind === "skippable") {
    return { ...header, blocksEnd: header.blocksStart, end: header.blocksStart };
  }
  let at = header.blocksStart;
  for (;;) {
    const block = readBlockHeader(input, at);
    at += BLOCK_HEADER_BYTES + (blockType(block) === BLOCK_RLE ? 1 : blockSize(block));
    assertWithin(input, at);
    if (isLastBlock(block)) break;
  }
  const end = at + (header.hasChecksum ? CHECKSUM_BYTES : 0);
  assertWithin(input, end);
  return { ...header, blocksEnd: at, end };
}

/** @throws ZstdError as {@link readFrame} */
export function readFrameHeader(input: Uint8Array, start: number): FrameHeader {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  assertWithin(input, start + MAGIC_BYTES);
  const magic = view.getUint32(start, true);
  if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC) {
    assertWithin(input, start + SKIPPABLE_HEADER_BYTES);
    const end = start + SKIPPABLE_HEADER_BYTES + view.getUint32(start + MAGIC_BYTES, true);
    assertWithin(input, end);
    return { kind: "skippable", blocksStart: end, hasChecksum: false, contentSize: undefined, windowSize: 0 };
  }
  if (magic !== FRAME_MAGIC) throw new ZstdError("corrupt", "No zstd frame where one was expected", start);
  const descriptorAt = start + MAGIC_BYTES;
  assertWithin(input, descriptorAt + 1);
  const descriptor = view.getUint8(descriptorAt);
  if ((descriptor & RESERVED_BIT) !== 0) {
    throw new ZstdError("corrupt", "A zstd frame with a reserved bit set", descriptorAt);
  }
  const isSingleSegment = (descriptor & SINGLE_SEGMENT) !== 0;
  const sizeFlag = descriptor >> 6;
  const sizeBytes = sizeFlag === 0 ? Number(isSingleSegment) : 2 ** sizeFlag;
  const windowAt = descriptorAt + 1;
  const dictionaryAt = windowAt + (isSingleSegment ? 0 : 1);
  const sizeAt = dictionaryAt + (DICTIONARY_ID_BYTES[descriptor & 3] as number);
  assertWithin(input, sizeAt + sizeBytes);
  for (let at = dictionaryAt; at < sizeAt; at++) {
    if (input[at] !== 0) throw new ZstdError("unsupported", "A zstd frame that needs a dictionary", at);
  }
  const contentSize = readContentSize(view, sizeAt, sizeBytes);
  return {
    kind: "data",
    blocksStart: sizeAt + sizeBytes,
    hasChecksum: (descriptor & HAS_CHECKSUM) !== 0,
    contentSize,
    windowSize: isSingleSegment ? (contentSize as number) : windowSizeOf(view.getUint8(windowAt), windowAt),
  };
}

/** The three bytes of a block's header (section 3.1.1.2). */
export function readBlockHeader(input: Uint8Array, at: number): number {
  assertWithin(input, at + BLOCK_HEADER_BYTES);
  const header = (input[at] as number) | ((input[at + 1] as number) << 8) | ((input[at + 2] as number) << 16);
  if (blockType(header) === BLOCK_RESERVED) {
    throw new ZstdError("corrupt", "A zstd block of a reserved type", at);
  }
  if (blockSize(header) > MAX_BLOCK_BYTES) {
    throw new ZstdError("corrupt", `A zstd block of ${blockSize(header)} bytes`, at);
  }
  return header;
}

export function isLastBlock(header: number): boolean {
  return (header & 1) !== 0;
}

export function blockType(header: number): number {
  return (header >> 1) & 3;
}

/** Stored bytes; of an RLE block, decoded bytes. */
export function blockSize(header: number): number {
  return header >> 3;
}

/** Window_Descriptor (section 3.1.1.1.2). */
function windowSizeOf(descriptor: number, at: number): number {
  const log = MIN_WINDOW_LOG + (descriptor >> 3);
  if (log > MAX_WINDOW_LOG) throw new ZstdError("limit-exceeded", `A zstd window of 2^${log} bytes`, at);
  return 2 ** log + 2 ** (log - 3) * (descriptor & 7);
}

/** Frame_Content_Size (section 3.1.1.1.4). */
function readContentSize(view: DataView, at: number, bytes: number): number | undefined {
  if (bytes === 0) return undefined;
  if (bytes === 1) return view.getUint8(at);
  if (bytes === 2) return view.getUint16(at, true) + 256;
  if (bytes === 4) return view.getUint32(at, true);
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
}

export function assertWithin(input: Uint8Array, end: number): void {
  if (end <= input.length) return;
  throw new ZstdError("truncated", "The zstd frame goes on beyond the end of the data", input.length);
}
