export { type DecompressOptions, type DecompressResult, decompress } from "./decode/decompress.ts";
export { isZstdError, ZstdError, type ZstdErrorCode } from "./errors.ts";
export { readFrame, type ZstdFrame } from "./frame.ts";
export { xxHash64Low32 } from "./xxhash64.ts";
