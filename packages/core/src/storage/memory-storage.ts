import { assertOffset, Qcow2Error } from "../errors.ts";
import type { Storage, StorageExtent } from "./storage.ts";

const PAGE_BYTES = 65536;

/** A storage in memory. Pages that were never written, or were punched, occupy nothing, so it can be as sparse as a file. */
export class MemoryStorage implements Storage {
  readonly name: string;
  readonly readOnly: boolean;
  readonly #pages = new Map<number, Uint8Array>();
  #size = 0;
  #closed = false;

  constructor(
    options: { readonly name?: string; readonly readOnly?: boolean; readonly bytes?: Uint8Array } = {},
  ) {
    this.name = options.name ?? "memory";
    this.readOnly = options.readOnly ?? false;
    if (options.bytes !== undefined) this.#writeNow(0, options.bytes);
  }

  async size(): Promise<number> {
    this.#assertOpen();
    return this.#size;
  }

  async read(offset: number, into: Uint8Array): Promise<number> {
    assertOffset(offset, "offset");
    this.#assertOpen();
    const length = Math.max(0, Math.min(into.length, this.#size - offset));
    for (let done = 0; done < length; ) {
      const { page, start, count } = this.#locate(offset + done, length - done);
      const bytes = this.#pages.get(page);
      if (bytes === undefined) into.fill(0, done, done + count);
      else into.set(bytes.subarray(start, start + count), done);
      done += count;
    }
    return length;
  }

  async write(offset: number, from: Uint8Array): Promise<void> {
    assertOffset(offset, "offset");
    assertOffset(offset + from.length, "end of write");
    this.#assertWritable();
    this.#writeNow(offset, from);
  }

  async truncate(size: number): Promise<void> {
    assertOffset(size, "size");
    this.#assertWritable();
    if (size < this.#size) {
      const keptPages = Math.ceil(size / PAGE_BYTES);
      for (const page of this.#pages.keys()) if (page >= keptPages) this.#pages.delete(page);
      this.#pages.get(Math.floor(size / PAGE_BYTES))?.fill(0, size % PAGE_BYTES);
    }
    this.#size = size;
  }

  async flush(): Promise<void> {
    this.#assertOpen();
  }

  /** After this only {@link toBytes} works: the disk that closed the storage is done, its bytes are the result. */
  async close(): Promise<void> {
    this.#closed = true;
  }

  /** A copy of the whole content, also after `close`. */
  toBytes(): Uint8Array {
    const bytes = new Uint8Array(this.#size);
    for (const [page, content] of this.#pages) {
      const start = page * PAGE_BYTES;
      bytes.set(content.subarray(0, Math.min(PAGE_BYTES, this.#size - start)), start);
    }
    return bytes;
  }

  async extentAt(offset: number): Promise<StorageExtent> {
    assertOffset(offset, "offset");
    this.#assertOpen();
    if (offset >= this.#size) throw new RangeError(`offset ${offset} is not before the end (${this.#size})`);
    const first = Math.floor(offset / PAGE_BYTES);
    const isData = this.#pages.has(first);
    const pageCount = Math.ceil(this.#size / PAGE_BYTES);
    let page = first + 1;
    while (page < pageCount && this.#pages.has(page) === isData) page++;
    const end = Math.min(page * PAGE_BYTES, this.#size);
    return { kind: isData ? "data" : "hole", offset, length: end - offset };
  }

  async punchHole(offset: number, length: number): Promise<void> {
    assertOffset(offset, "offset");
    assertOffset(length, "length");
    this.#assertWritable();
    const end = Math.min(offset + length, this.#size);
    for (let at = offset; at < end; ) {
      const { page, start, count } = this.#locate(at, end - at);
      if (count === PAGE_BYTES) this.#pages.delete(page);
      else this.#pages.get(page)?.fill(0, start, start + count);
      at += count;
    }
  }

  async allocatedBytes(): Promise<number> {
    this.#assertOpen();
    return this.#pages.size * PAGE_BYTES;
  }

  #writeNow(offset: number, from: Uint8Array): void {
    for (let done = 0; done < from.length; ) {
      const { page, start, count } = this.#locate(offset + done, from.length - done);
      let bytes = this.#pages.get(page);
      if (bytes === undefined) {
        bytes = new Uint8Array(PAGE_BYTES);
        this.#pages.set(page, bytes);
      }
      bytes.set(from.subarray(done, done + count), start);
      done += count;
    }
    this.#size = Math.max(this.#size, offset + from.length);
  }

  #locate(offset: number, length: number): { page: number; start: number; count: number } {
    const page = Math.floor(offset / PAGE_BYTES);
    const start = offset - page * PAGE_BYTES;
    return { page, start, count: Math.min(length, PAGE_BYTES - start) };
  }

  #assertOpen(): void {
    if (this.#closed) throw new Qcow2Error("closed", `${this.name} is closed`, { name: this.name });
  }

  #assertWritable(): void {
    this.#assertOpen();
    if (this.readOnly) throw new Qcow2Error("read-only", `${this.name} is read-only`, { name: this.name });
  }
}
