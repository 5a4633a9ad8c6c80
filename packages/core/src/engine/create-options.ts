/** Options of a new image, the same as those of `qemu-img create -f qcow2 -o`. */
import type { Codecs, CompressionType } from "../codec/codec.ts";
import type { Preallocation } from "../disk/disk.ts";
import type { References } from "../references/references.ts";
import type { Storage } from "../storage/storage.ts";

/** What an image looks like, without where it is stored; also what `measure` needs. */
export interface ImageOptions {
  /** 2 ("compat=0.10") or 3 ("compat=1.1"). Default 3. */
  readonly version?: 2 | 3 | undefined;
  /** Bytes, a power of two from 512 to 2 MiB. Default 64 KiB. */
  readonly clusterSize?: number | undefined;
  /** A power of two from 1 to 64. Default 16, and the only choice of version 2. */
  readonly refcountBits?: number | undefined;
  readonly lazyRefcounts?: boolean | undefined;
  readonly extendedL2?: boolean | undefined;
  /** Default "zlib". */
  readonly compressionType?: CompressionType | undefined;
  /** Default "off". */
  readonly preallocation?: Preallocation | undefined;
}

export interface CreateOptions extends ImageOptions {
  /** An empty storage; it must not have content that anyone needs. */
  readonly storage: Storage;
  /** Virtual size in bytes; rounded up to a multiple of 512, as QEMU does. */
  readonly size: number;
  /** The name to record and the storage to use for guest data; `raw` keeps it readable as a raw image on its own. */
  readonly dataFile?:
    | { readonly name: string; readonly storage: Storage; readonly raw?: boolean | undefined }
    | undefined;
  /** The name and format to record. It is opened only by whoever opens the image later. */
  readonly backingFile?: { readonly name: string; readonly format: string | undefined } | undefined;
  /** For reading the backing file while writing parts of clusters; default: no reference is opened. */
  readonly references?: References | undefined;
  readonly codecs?: Codecs | undefined;
}
