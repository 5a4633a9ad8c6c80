export {
  type ChainArbitraryOptions,
  chainArbitrary,
  imageOptionsArbitrary,
  virtualSizeArbitrary,
} from "./arbitraries.ts";
export { CONTENT_KINDS, type ContentKind, type ContentOptions, content } from "./content.ts";
export { CountingStorage } from "./counting-storage.ts";
export { DiskModel, expectSameContent, firstDifference } from "./disk-model.ts";
export {
  contentOf,
  type DrawnChain,
  type DrawnLayer,
  type DrawnOperation,
  type DrawnQcow2Layer,
  type DrawnRawLayer,
  layersOf,
  modelOf,
  modelOfChain,
} from "./drawn-chain.ts";
export { type FaultOptions, FaultyStorage } from "./faulty-storage.ts";
export {
  ALLOCATED,
  type DiskOperation,
  MemoryDisk,
  type MemoryDiskOptions,
  type SectorState,
  UNALLOCATED,
} from "./memory-disk.ts";
export { PlainStorage } from "./plain-storage.ts";
export { Random } from "./random.ts";
export { type RecordedOperation, RecordingStorage } from "./recording-storage.ts";
export { type StorageOperation, WrappedStorage } from "./wrapped-storage.ts";
