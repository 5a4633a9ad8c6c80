/** A bounded cache of equally sized metadata tables (L2 slices or refcount blocks), kept big-endian as on disk. */
import { assert } from "../errors.ts";
import { viewOf } from "../format/uint64.ts";
import { readExactly } from "../storage/read-exactly.ts";
import type { Storage } from "../storage/storage.ts";

export interface CachedTable {
  /** Host byte offset. */
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Changed since it was last written out. */
  dirty: boolean;
  /** Used since the eviction hand last passed. */
  referenced: boolean;
  /** Users that hold on to it across an await; it is not evicted before they let go. */
  pins: number;
}

/** A table's content at one moment, on its way to the disk. */
export interface TableCopy {
  readonly table: CachedTable;
  readonly offset: number;
  readonly bytes: Uint8Array;
}

interface Waiter {
  /** Synchronous; does not throw. */
  serve(table: CachedTable): void;
  fail(error: unknown): void;
}

/** Tables are evicted by the clock algorithm; dirty and pinned ones stay, so the bound is soft while writing. */
export class TableCache {
  readonly tableBytes: number;
  readonly #storage: Storage;
  readonly #structure: string;
  readonly #capacity: number;
  readonly #tables = new Map<number, CachedTable>();
  /** Who waits for tables that are being read, by host byte offset. */
  readonly #waiting = new Map<number, Waiter[]>();
  /** Buffers of evicted tables, for the next ones: without them every miss makes garbage. */
  readonly #spare: Uint8Array[] = [];
  readonly #clock: CachedTable[] = [];
  readonly #dirty = new Set<CachedTable>();
  #hand = 0;

  constructor(options: {
    readonly storage: Storage;
    /** For messages: "L2 table", "Refcount block". */
    readonly structure: string;
    readonly tableBytes: number;
    readonly capacityBytes: number;
  }) {
    this.#storage = options.storage;
    this.#structure = options.structure;
    this.tableBytes = options.tableBytes;
    this.#capacity = Math.max(4, Math.floor(options.capacityBytes / options.tableBytes));
  }

  /** Tables that wait to be written. */
  get dirtyCount(): number {
    return this.#dirty.size;
  }

  /** True if so many tables are dirty that they should be written before more work is taken on. */
  get underPressure(): boolean {
    return this.#dirty.size * 2 > this.#capacity;
  }

  /** The table at `offset` if it is resident. */
  get(offset: number): CachedTable | undefined {
    const table = this.#tables.get(offset);
    if (table !== undefined) table.referenced = true;
    return table;
  }

  /**
   * Calls `use` with the table at `offset`, reading it first if need be; it is resident for as long as `use`, which is
   * synchronous, runs. Concurrent callers share one read, after which all of them are served at once: however small
   * the cache, each read gets its callers on. A failure is not remembered.
   */
  async with<Result>(offset: number, use: (table: CachedTable) => Result): Promise<Result> {
    const table = this.get(offset);
    if (table !== undefined) return use(table);
    return await new Promise<Result>((resolve, reject) => {
      const serve = (loaded: CachedTable): void => {
        try {
          resolve(use(loaded));
        } catch (error) {
          reject(error);
        }
      };
      this.#wait(offset, { serve, fail: reject });
    });
  }

  /** The table at `offset`, which stays resident until the caller decreases `pins`. */
  pin(offset: number): Promise<CachedTable> {
    return this.with(offset, (table) => {
      table.pins++;
      return table;
    });
  }

  /** Adds a table that is new on disk; its content is zeroes until changed, and it is dirty. */
  addNew(offset: number): CachedTable {
    assert(!this.#waiting.has(offset), `new ${this.#structure} at ${offset} is being read`);
    const existing = this.#tables.get(offset);
    if (existing !== undefined) this.#remove(existing);
    const table = this.#add(offset, this.#spare.pop()?.fill(0) ?? new Uint8Array(this.tableBytes));
    this.markDirty(table);
    return table;
  }

  markDirty(table: CachedTable): void {
    assert(this.#tables.get(table.offset) === table, `changed ${this.#structure} is not resident`);
    table.dirty = true;
    this.#dirty.add(table);
  }

  /**
   * Copies of all dirty tables in the order of their offsets. The tables count as clean from now on and are pinned
   * until each copy was handed to {@link written} or {@link notWritten}: a table must not be evicted and read again
   * before its copy is on disk.
   */
  takeDirty(): TableCopy[] {
    const copies = Array.from(this.#dirty, (table) => {
      table.dirty = false;
      table.pins++;
      return { table, offset: table.offset, bytes: table.bytes.slice() };
    });
    this.#dirty.clear();
    return copies.sort((first, second) => first.offset - second.offset);
  }

  written(copies: readonly TableCopy[]): void {
    for (const { table } of copies) table.pins--;
    while (this.#clock.length > this.#capacity) {
      const victim = this.#findVictim();
      if (victim < 0) break;
      this.#remove(this.#clock[victim] as CachedTable);
    }
  }

  /** The copies did not reach the disk: their tables are dirty again, unless they were dropped meanwhile. */
  notWritten(copies: readonly TableCopy[]): void {
    for (const { table } of copies) {
      table.pins--;
      if (this.#tables.get(table.offset) === table) this.markDirty(table);
    }
  }

  /** Forgets a table whose host cluster is no longer in use. */
  drop(offset: number): void {
    const table = this.#tables.get(offset);
    if (table !== undefined) this.#remove(table);
  }

  #wait(offset: number, waiter: Waiter): void {
    const waiters = this.#waiting.get(offset);
    if (waiters !== undefined) {
      waiters.push(waiter);
      return;
    }
    this.#waiting.set(offset, [waiter]);
    void this.#read(offset);
  }

  /** Reads a table and serves whoever waits for it. Never rejects. */
  async #read(offset: number): Promise<void> {
    const bytes = this.#spare.pop() ?? new Uint8Array(this.tableBytes);
    let failure: { readonly error: unknown } | undefined;
    try {
      await readExactly(this.#storage, offset, bytes, this.#structure);
    } catch (error) {
      failure = { error };
    }
    const waiters = this.#waiting.get(offset) ?? [];
    this.#waiting.delete(offset);
    if (failure !== undefined) {
      for (const waiter of waiters) waiter.fail(failure.error);
      return;
    }
    const table = this.#tables.get(offset) ?? this.#add(offset, bytes);
    table.pins++;
    for (const waiter of waiters) {
      // One that was served before may have given the table up.
      if (this.#tables.get(offset) === table) waiter.serve(table);
      else this.#wait(offset, waiter);
    }
    table.pins--;
  }

  #add(offset: number, bytes: Uint8Array): CachedTable {
    const table: CachedTable = {
      offset,
      bytes,
      view: viewOf(bytes),
      dirty: false,
      referenced: true,
      pins: 0,
    };
    this.#tables.set(offset, table);
    const victim = this.#clock.length < this.#capacity ? -1 : this.#findVictim();
    if (victim < 0) {
      this.#clock.push(table);
    } else {
      const evicted = this.#clock[victim] as CachedTable;
      this.#tables.delete(evicted.offset);
      // Nobody else has it: tables are used while resident, or pinned.
      this.#spare.push(evicted.bytes);
      this.#clock[victim] = table;
    }
    return table;
  }

  #remove(table: CachedTable): void {
    this.#tables.delete(table.offset);
    this.#dirty.delete(table);
    const index = this.#clock.indexOf(table);
    const last = this.#clock.pop();
    if (last !== undefined && last !== table) this.#clock[index] = last;
  }

  /** Two turns at most: the first clears the reference marks. */
  #findVictim(): number {
    for (let steps = this.#clock.length * 2; steps > 0; steps--) {
      this.#hand = (this.#hand + 1) % this.#clock.length;
      const table = this.#clock[this.#hand] as CachedTable;
      if (table.dirty || table.pins > 0) continue;
      if (!table.referenced) return this.#hand;
      table.referenced = false;
    }
    return -1;
  }
}
