import { MemoryStorage, type StoredBytes } from "@qcow2/core";

/** What lies there. */
export async function readStored({ storage, offset, length }: StoredBytes): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  await storage.read(offset, bytes);
  return bytes;
}

/** What a host does when it is asked to copy: all of it, nothing, or a part before it fails. */
export type HostCopies = "all" | "nothing" | "a part";

/** A storage in memory that copies from others, as a host does for files. */
export class CopyingStorage extends MemoryStorage {
  readonly #copies: HostCopies;
  #bytesCopied = 0;

  constructor({
    hostCopies,
    ...options
  }: {
    readonly hostCopies: HostCopies;
    readonly name?: string;
    readonly bytes?: Uint8Array;
  }) {
    super(options);
    this.#copies = hostCopies;
  }

  /** Bytes that were copied without whoever asked for it reading them. */
  get bytesCopied(): number {
    return this.#bytesCopied;
  }

  async copyFrom(offset: number, { storage, offset: from, length }: StoredBytes): Promise<boolean> {
    if (this.#copies === "nothing") return false;
    const bytes = new Uint8Array(this.#copies === "all" ? length : Math.floor(length / 2));
    if ((await storage.read(from, bytes)) < bytes.length) return false;
    await this.write(offset, bytes);
    this.#bytesCopied += bytes.length;
    return this.#copies === "all";
  }
}
