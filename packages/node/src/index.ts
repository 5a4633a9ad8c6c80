export { FileStorage, type FileStorageOptions } from "./file/file-storage.ts";
export type { LockMode } from "./locks/image-locks.ts";
