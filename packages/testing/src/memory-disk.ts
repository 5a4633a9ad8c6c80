import {
  type DiskReadableOptions,
  type DiskWritableOptions,
  diskReadable,
  diskWritable,
  type Extent,
  Qcow2Error,
  type WritableDisk,
} from "@qcow2/core";

/** What a part of the disk is said to be by `map`; its content is another matter. */
export type SectorState = Omit<Extent, "offset" | "length">;

export interface DiskOperation {
  readonly kind: "read" | "write" | "writeZeroes" | "writeCompressed" | "discard" | "map";
  /** Bytes. */
  readonly offset: number;
  /** Bytes; for "map" those up to the end of the disk. */
  readonly length: number;
}

export interface MemoryDiskOptions {
  /** Bytes. */
  readonly size: number;
  readonly name?: string;
  /** What the disk holds at first, everywhere. Default: zeroes that no layer ever wrote. */
  readonly fill?: number;
  /** Called before each operation, and before each extent of a map; it may delay or throw. */
  readonly before?: (operation: DiskOperation) => void | Promise<void>;
}

const SECTOR_SIZE = 512;

export const UNALLOCATED: SectorState = {
  kind: "zero",
  present: false,
  stored: false,
  depth: 0,
  hostOffset: undefined,
  compressed: false,
};

export const ALLOCATED: SectorState = {
  kind: "data",
  present: true,
  stored: true,
  depth: 0,
  hostOffset: 0,
  compressed: false,
};

/** A small disk in memory whose map can be made to say anything; it remembers what was done to it. */
export class MemoryDisk implements WritableDisk {
  readonly format: string = "memory";
  readonly name: string;
  readonly size: number;
  readonly readOnly: boolean = false;
  /** The guest's bytes; tests may write here directly. */
  readonly bytes: Uint8Array;
  /** Operations in the order in which they began. */
  readonly operations: DiskOperation[] = [];
  /** Operations that have begun and not ended. */
  running: number = 0;
  /** The most that ever ran at one time. */
  mostRunning: number = 0;
  readonly #states: SectorState[];
  readonly #before: (operation: DiskOperation) => void | Promise<void>;

  constructor(options: MemoryDiskOptions) {
    this.size = options.size;
    this.name = options.name ?? "memory disk";
    this.bytes = new Uint8Array(options.size).fill(options.fill ?? 0);
    const state = options.fill === undefined ? UNALLOCATED : ALLOCATED;
    this.#states = new Array<SectorState>(Math.ceil(options.size / SECTOR_SIZE)).fill(state);
    this.#before = options.before ?? (() => {});
  }

  /** Says what `map` answers for the sectors that the range touches. */
  setState(offset: number, length: number, state: SectorState): void {
    this.#states.fill(state, Math.floor(offset / SECTOR_SIZE), Math.ceil((offset + length) / SECTOR_SIZE));
  }

  async read(request: { readonly offset: number; readonly into: Uint8Array }): Promise<void> {
    const { offset, into } = request;
    await this.#run({ kind: "read", offset, length: into.length }, () => {
      into.set(this.bytes.subarray(offset, offset + into.length));
    });
  }

  async *map(
    range: {
      readonly offset?: number;
      readonly length?: number;
      readonly signal?: AbortSignal | undefined;
    } = {},
  ): AsyncGenerator<Extent> {
    const end = range.length === undefined ? this.size : (range.offset ?? 0) + range.length;
    for (let offset = range.offset ?? 0; offset < end; ) {
      range.signal?.throwIfAborted();
      await this.#before({ kind: "map", offset, length: this.size - offset });
      const first = Math.floor(offset / SECTOR_SIZE);
      const state = this.#states[first]!;
      let last = first + 1;
      while (last < this.#states.length && this.#states[last] === state) last++;
      const length = Math.min(last * SECTOR_SIZE, end) - offset;
      const hostOffset = state.hostOffset === undefined ? undefined : offset;
      yield { ...state, hostOffset, offset, length };
      offset += length;
    }
  }

  async write(request: { readonly offset: number; readonly from: Uint8Array }): Promise<void> {
    await this.#write("write", request, ALLOCATED);
  }

  async writeCompressed(request: { readonly offset: number; readonly from: Uint8Array }): Promise<void> {
    await this.#write("writeCompressed", request, { ...ALLOCATED, hostOffset: undefined, compressed: true });
  }

  async writeZeroes(request: { readonly offset: number; readonly length: number }): Promise<void> {
    const { offset, length } = request;
    await this.#run({ kind: "writeZeroes", offset, length }, () => {
      this.bytes.fill(0, offset, offset + length);
    });
  }

  async discard(request: { readonly offset: number; readonly length: number }): Promise<void> {
    const { offset, length } = request;
    await this.#run({ kind: "discard", offset, length }, () => this.bytes.fill(0, offset, offset + length));
  }

  readable(options?: DiskReadableOptions): ReadableStream<Uint8Array<ArrayBuffer>> {
    return diskReadable(this, options);
  }

  writable(options?: DiskWritableOptions): WritableStream<Uint8Array> {
    return diskWritable(this, options);
  }

  async flush(): Promise<void> {}

  async close(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {}

  async #write(
    kind: "write" | "writeCompressed",
    request: { readonly offset: number; readonly from: Uint8Array },
    state: SectorState,
  ): Promise<void> {
    const { offset, from } = request;
    await this.#run({ kind, offset, length: from.length }, () => {
      this.bytes.set(from, offset);
      this.setState(offset, from.length, state);
    });
  }

  async #run(operation: DiskOperation, work: () => void): Promise<void> {
    if (operation.offset + operation.length > this.size) {
      throw new Qcow2Error("out-of-range", "beyond the end of the disk", { ...operation, size: this.size });
    }
    this.operations.push(operation);
    this.running++;
    this.mostRunning = Math.max(this.mostRunning, this.running);
    try {
      await this.#before(operation);
      work();
    } finally {
      this.running--;
    }
  }
}
