import { Qcow2Error, type Storage } from "@qcow2/core";
import { type StorageOperation, WrappedStorage } from "./wrapped-storage.ts";

const DEFAULT_KINDS: readonly StorageOperation["kind"][] = ["read", "write", "truncate", "flush"];

export interface FaultOptions {
  /** Which of the counted operations fails: 1 is the first. Infinity fails none, for counting how many there are. */
  readonly failAt: number;
  /** What is counted, and can fail. Default: reads, writes, truncations and flushes. */
  readonly kinds?: readonly StorageOperation["kind"][];
  /** Default: only the one operation fails; with "from-then-on", every counted one after it too. */
  readonly repeat?: "once" | "from-then-on";
  /** Default "EIO". */
  readonly errno?: string;
}

/** Fails at the n-th I/O. A failing write writes nothing. */
export class FaultyStorage extends WrappedStorage {
  readonly #options: FaultOptions;
  #counted = 0;

  constructor(inner: Storage, options: FaultOptions) {
    super(inner);
    this.#options = options;
  }

  /** Operations counted so far, failed ones included. */
  get counted(): number {
    return this.#counted;
  }

  protected override async before({ kind, offset }: StorageOperation): Promise<void> {
    const { failAt, kinds = DEFAULT_KINDS, repeat = "once", errno = "EIO" } = this.#options;
    if (!kinds.includes(kind)) return;
    this.#counted++;
    const fails = repeat === "once" ? this.#counted === failAt : this.#counted >= failAt;
    if (!fails) return;
    const data = { operation: kind, name: this.name, offset, errno };
    throw new Qcow2Error("io", `${this.name}: ${kind} at ${offset} failed: ${errno} (injected)`, data);
  }
}
