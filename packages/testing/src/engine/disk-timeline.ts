/** What happened to files, in one order over all of them, and what is on the disk of it. */
import type { Storage } from "@qcow2/core";
import { readStored } from "../copying-storage.ts";
import { WrappedStorage } from "../wrapped-storage.ts";

const SECTOR = 512;

/** A change of a file's content. */
export interface DiskWrite {
  readonly id: number;
  /** Which of the files. */
  readonly role: string;
  readonly kind: "write" | "punch" | "truncate";
  /** Bytes. */
  readonly offset: number;
  /** Bytes; for "truncate" the new size. */
  readonly length: number;
  /** What is written, zeroes for "punch"; undefined for "truncate". */
  readonly bytes: Uint8Array | undefined;
}

export type DiskEvent =
  | { readonly kind: "begun"; readonly write: DiskWrite }
  | { readonly kind: "completed"; readonly id: number }
  | { readonly kind: "flush-begun" | "flushed"; readonly id: number; readonly role: string };

export class Timeline {
  readonly events: DiskEvent[] = [];
  #ids = 0;

  /** How many events there were. */
  get now(): number {
    return this.events.length;
  }

  newId(): number {
    return this.#ids++;
  }
}

/** Puts every change and flush of a storage on a timeline, with its beginning and its end. */
export class TimelineStorage extends WrappedStorage {
  readonly #role: string;
  readonly #timeline: Timeline;
  /** The file as whoever reads it sees it. */
  readonly #current: FileContent;

  /** `initial` is what the storage holds. */
  constructor(
    inner: Storage,
    options: {
      readonly role: string;
      readonly timeline: Timeline;
      readonly initial: Uint8Array;
    },
  ) {
    super(inner);
    this.#role = options.role;
    this.#timeline = options.timeline;
    this.#current = new FileContent(options.initial);
    const { punchHole } = inner;
    if (punchHole !== undefined) {
      this.punchHole = (offset, length) => {
        this.#current.write(offset, new Uint8Array(length), "within");
        const change = { kind: "punch", ...this.#sectorsOf(offset, offset + length) } as const;
        return this.#change(change, () => punchHole.call(inner, offset, length));
      };
    }
    if (inner.copyFrom !== undefined) {
      // For the disk a copy is a write like any other.
      this.copyFrom = async (offset, from) => {
        await this.write(offset, await readStored(from));
        return true;
      };
    }
    delete this.allocate;
  }

  override write(offset: number, from: Uint8Array): Promise<void> {
    this.#current.write(offset, from);
    const change = { kind: "write", ...this.#sectorsOf(offset, offset + from.length) } as const;
    return this.#change(change, () => super.write(offset, from));
  }

  override truncate(size: number): Promise<void> {
    this.#current.resize(size);
    const change = { kind: "truncate", offset: 0, length: size, bytes: undefined } as const;
    return this.#change(change, () => super.truncate(size));
  }

  override async flush(): Promise<void> {
    const { events } = this.#timeline;
    const id = this.#timeline.newId();
    events.push({ kind: "flush-begun", id, role: this.#role });
    await super.flush();
    events.push({ kind: "flushed", id, role: this.#role });
  }

  /** A disk is given whole sectors: what is written carries what its first and last sector hold besides. */
  #sectorsOf(
    start: number,
    end: number,
  ): { readonly offset: number; readonly length: number; readonly bytes: Uint8Array } {
    const offset = Math.floor(start / SECTOR) * SECTOR;
    const bytes = this.#current.read(offset, Math.ceil(end / SECTOR) * SECTOR);
    return { offset, length: bytes.length, bytes };
  }

  async #change(change: Omit<DiskWrite, "id" | "role">, work: () => Promise<void>): Promise<void> {
    const { events } = this.#timeline;
    const id = this.#timeline.newId();
    events.push({ kind: "begun", write: { ...change, id, role: this.#role } });
    await work();
    events.push({ kind: "completed", id });
  }
}

/** A file's bytes, to which changes can be applied in part. */
export class FileContent {
  #bytes: Uint8Array;
  #size: number;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes.slice();
    this.#size = bytes.length;
  }

  copy(): FileContent {
    return new FileContent(this.toBytes());
  }

  toBytes(): Uint8Array {
    return this.#bytes.slice(0, this.#size);
  }

  /** The bytes of start .. end (exclusive), up to the end of the file. */
  read(start: number, end: number): Uint8Array {
    return this.#bytes.slice(start, Math.min(end, this.#size));
  }

  /** Writes at `offset`; "within" does not make the file longer. */
  write(offset: number, from: Uint8Array, growth: "grow" | "within" = "grow"): void {
    const end = growth === "grow" ? offset + from.length : Math.min(offset + from.length, this.#size);
    if (end > this.#size) this.resize(end);
    if (end > offset) this.#bytes.set(from.subarray(0, end - offset), offset);
  }

  /** Applies a change; with `reaches`, only the sectors for which that says true. Tells how many of how many did. */
  apply(write: DiskWrite, reaches: () => boolean = () => true): string {
    const { bytes } = write;
    if (bytes === undefined) {
      this.resize(write.length);
      return "all";
    }
    const end =
      write.kind === "punch"
        ? Math.min(write.offset + write.length, this.#size)
        : write.offset + write.length;
    let [applied, all] = [0, 0];
    for (let at = write.offset; at < end; ) {
      const next = Math.min((Math.floor(at / SECTOR) + 1) * SECTOR, end);
      all++;
      if (reaches()) {
        applied++;
        this.write(at, bytes.subarray(at - write.offset, next - write.offset));
      }
      at = next;
    }
    return `${applied} of ${all} sectors`;
  }

  /** Cuts off the end, or adds zeroes to it. */
  resize(size: number): void {
    if (size > this.#bytes.length) {
      const larger = new Uint8Array(Math.ceil(size * 1.5));
      larger.set(this.#bytes.subarray(0, this.#size));
      this.#bytes = larger;
    } else if (size < this.#size) {
      this.#bytes.fill(0, size, this.#size);
    }
    this.#size = size;
  }
}
