export { type GeneratedDisk, type GenerateOptions, generateDisk } from "./disk/generate-disk.ts";
export { DEFAULT_OS_DISK, makeOsDisk, OsDiskError, type OsDiskOptions } from "./os-disk.ts";
