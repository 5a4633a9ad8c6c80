export { bufferPrimitives } from "./buffer-primitives.ts";
export {
  MAX_COMPRESSION_LEVEL,
  type NodeCodecs,
  type NodeCodecsOptions,
  nodeCodecs,
} from "./codecs/node-codecs.ts";
export { isOutOfMemory } from "./codecs/out-of-memory.ts";
export { type CacheMode, leavesNoCache, writesThrough } from "./file/cache-mode.ts";
export { type FileHold, FileStorage, type FileStorageOptions } from "./file/file-storage.ts";
export { fromHostPath, hostPath } from "./file/host-path.ts";
export type { FileKind } from "./file/open-file.ts";
export type { ImageUse, LockMode } from "./locks/image-locks.ts";
export { requireHostThreads } from "./native/host-threads.ts";
export { hostExit } from "./native/libc.ts";
export { type DiskFile, filesOf } from "./open/disk-files.ts";
export { type ImageInfo, type ImageInfoOptions, imageInfo } from "./open/image-info.ts";
export {
  type BackingOverride,
  type FileAccess,
  type FileRange,
  type OpenPlaceOptions,
  openImageStorage,
  type RawSharing,
} from "./open/image-place.ts";
export { type OpenDiskOptions, openDisk } from "./open/open-disk.ts";
export type { ImageTuning } from "./open/open-file-disk.ts";
export { OTHER_FORMATS } from "./open/other-formats.ts";
export { descriptorIdentity, fileIdentity } from "./references/file-identity.ts";
export { resolveBackingName, resolveDataFileName } from "./references/file-name.ts";
export {
  type FileReferencesOptions,
  type FollowReferences,
  fileReferences,
} from "./references/file-references.ts";
export { backingPathOf, type FindOverlaysOptions, findOverlays } from "./references/find-overlays.ts";
export type { InPlaceReason } from "./target/in-place-reason.ts";
export { TargetFile } from "./target/target-file.ts";
export type { ImageOrder } from "./trees/arrange-trees.ts";
export type {
  ImageHealth,
  ImageNode,
  ImageProblem,
  ImageProblemCode,
  ImageTrees,
  UnreadablePath,
} from "./trees/image-tree.ts";
export { type ImageTreesOptions, imageTrees } from "./trees/image-trees.ts";
