/**
 * The layout of Zstandard frames (RFC 8878, section 3.1.1), without decoding their content: where a frame ends, and
 * what it claims. A stored cluster may be several frames, followed by bytes that belong to something else.
 */

const FRAME_MAGIC = 0xfd2fb528;
/** Skippable frames have magics 0x184D2A50 to 0x184D2A5F. */
const SKIPPABLE_MAGIC = 0x184d2a50;
const MAGIC_BYTES = 4;
const SKIPPABLE_HEADER_BYTES = 8;
const BLOCK_HEADER_BYTES = 3;
const CHECKSUM_BYTES = 4;
/** No block is larger, compressed or not (section 3.1.1.2.4). */
const MAX_BLOCK_BYTES = 131072;
const BLOCK_RLE = 1;
const BLOCK_RESERVED = 3;

export interface ZstdFrame {
  readonly kind: "data" | "skippable";
  /** First byte after the frame. */
  readonly end: number;
  /** First byte of the first block. */
  readonly blocksStart: number;
  /** First byte after the last block; the checksum, if any, lies here. */
  readonly blocksEnd: number;
  readonly hasChecksum: boolean;
  /** Bytes that the frame says it decodes to; undefined if it does not say. */
  readonly contentSize: number | undefined;
}

/**
 * Finds the frame that begins at `start`.
 * @throws Error if there is none, or it does not end within `input`
 */
export function parseZstdFrame(input: Uint8Array, start: number): ZstdFrame {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  require(input, start + MAGIC_BYTES);
  const magic = view.getUint32(start, true);
  if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC) {
    require(input, start + SKIPPABLE_HEADER_BYTES);
    const end = start + SKIPPABLE_HEADER_BYTES + view.getUint32(start + MAGIC_BYTES, true);
    require(input, end);
    return {
      kind: "skippable",
      end,
      blocksStart: end,
      blocksEnd: end,
      hasChecksum: false,
      contentSize: undefined,
    };
  }
  if (magic !== FRAME_MAGIC) throw new Error("no zstd frame where one was expected");
  const header = parseHeader(input, view, start + MAGIC_BYTES);
  const blocksEnd = findBlocksEnd(input, header.end);
  const end = blocksEnd + (header.hasChecksum ? CHECKSUM_BYTES : 0);
  require(input, end);
  return {
    kind: "data",
    end,
    blocksStart: header.end,
    blocksEnd,
    hasChecksum: header.hasChecksum,
    contentSize: header.contentSize,
  };
}

function parseHeader(
  input: Uint8Array,
  view: DataView,
  start: number,
): { readonly end: number; readonly hasChecksum: boolean; readonly contentSize: number | undefined } {
  require(input, start + 1);
  const descriptor = input[start]!;
  const isSingleSegment = (descriptor & 0x20) !== 0;
  if ((descriptor & 0x08) !== 0) throw new Error("zstd frame with a reserved bit set");
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3]!;
  const sizeFlag = descriptor >> 6;
  const sizeBytes = sizeFlag === 0 ? Number(isSingleSegment) : 2 ** sizeFlag;
  const dictionaryAt = start + 1 + (isSingleSegment ? 0 : 1);
  const sizeAt = dictionaryAt + dictionaryBytes;
  require(input, sizeAt + sizeBytes);
  if (input.subarray(dictionaryAt, sizeAt).some((byte) => byte !== 0)) {
    throw new Error("zstd frame that needs a dictionary");
  }
  return {
    end: sizeAt + sizeBytes,
    hasChecksum: (descriptor & 0x04) !== 0,
    contentSize: readContentSize(view, sizeAt, sizeBytes),
  };
}

function readContentSize(view: DataView, at: number, bytes: number): number | undefined {
  if (bytes === 0) return undefined;
  if (bytes === 1) return view.getUint8(at);
  if (bytes === 2) return view.getUint16(at, true) + 256;
  if (bytes === 4) return view.getUint32(at, true);
  return Number(view.getBigUint64(at, true));
}

function findBlocksEnd(input: Uint8Array, start: number): number {
  let at = start;
  for (;;) {
    require(input, at + BLOCK_HEADER_BYTES);
    const header = input[at]! | (input[at + 1]! << 8) | (input[at + 2]! << 16);
    const type = (header >> 1) & 3;
    const size = header >> 3;
    if (type === BLOCK_RESERVED) throw new Error("zstd block of a reserved type");
    if (size > MAX_BLOCK_BYTES) throw new Error(`zstd block of ${size} bytes`);
    at += BLOCK_HEADER_BYTES + (type === BLOCK_RLE ? 1 : size);
    require(input, at);
    if ((header & 1) !== 0) return at;
  }
}

function require(input: Uint8Array, end: number): void {
  if (end > input.length) throw new Error("zstd frame goes on beyond the end of the data");
}
