/** Suites that run under vitest; apart from the main entry, so that scripts can use that without vitest. */
export { type DiskSubject, describeDisk } from "./disk-suite.ts";
export { expectBytes } from "./expect-bytes.ts";
export { describeStorage, type StorageSubject } from "./storage-suite.ts";
