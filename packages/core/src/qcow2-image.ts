/** The public image class. */
import type { Codecs } from "./codec/codec.ts";
import type { Disk, DiskRange, Extent, WritableDisk } from "./disk/disk.ts";
import type { CheckOptions, CheckResult } from "./engine/check-result.ts";
import type { CreateOptions } from "./engine/create-options.ts";
import type { Qcow2Info } from "./engine/image-info.ts";
import type { References } from "./references/references.ts";
import type { Storage } from "./storage/storage.ts";

export interface OpenOptions {
  readonly storage: Storage;
  /** Default: as the storage is. */
  readonly readOnly?: boolean | undefined;
  /** Default {@link denyReferences}: an image that needs a second file is refused. */
  readonly references?: References | undefined;
  readonly codecs?: Codecs | undefined;
  /** Open only what `info` and `check` need: the backing file is not opened, and guest data cannot be read. */
  readonly metadataOnly?: boolean | undefined;
  /** Read an internal snapshot, by id or else by name, instead of the active disk; implies read-only. */
  readonly snapshot?: string | undefined;
  /** Memory for tables; defaults in `limits.ts`. */
  readonly l2CacheBytes?: number | undefined;
  readonly refcountCacheBytes?: number | undefined;
  /**
   * "crash-safe" (default) orders writes so that a power cut at any point leaves an intact image. "on-close" orders
   * nothing until `flush` or `close`: for new images that do not count until they are complete.
   */
  readonly durability?: "crash-safe" | "on-close" | undefined;
}

export declare class Qcow2Image implements WritableDisk {
  readonly format: "qcow2";
  readonly name: string;
  readonly size: number;
  readonly readOnly: boolean;
  /** The backing disk, once opened. */
  readonly backing: Disk | undefined;
  static open(options: OpenOptions): Promise<Qcow2Image>;
  static create(options: CreateOptions): Promise<Qcow2Image>;
  info(): Qcow2Info;
  read(request: { readonly offset: number; readonly into: Uint8Array }): Promise<void>;
  map(range?: DiskRange & { readonly signal?: AbortSignal | undefined }): AsyncIterable<Extent>;
  check(options?: CheckOptions): Promise<CheckResult>;
  write(request: { readonly offset: number; readonly from: Uint8Array }): Promise<void>;
  writeZeroes(request: {
    readonly offset: number;
    readonly length: number;
    readonly unmap?: boolean | undefined;
  }): Promise<void>;
  writeCompressed(request: { readonly offset: number; readonly from: Uint8Array }): Promise<void>;
  flush(): Promise<void>;
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}
