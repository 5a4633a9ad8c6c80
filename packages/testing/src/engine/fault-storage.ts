/** A storage in which one operation fails, or all of a kind from one on. */
import { Qcow2Error, type Storage } from "@qcow2/core";
import { readStored } from "../copying-storage.ts";
import { type StorageOperation, WrappedStorage } from "../wrapped-storage.ts";

export const FAULT_KINDS = ["read", "write", "copyFrom", "truncate", "flush", "size"] as const;

export interface Fault {
  readonly role: "image" | "data";
  readonly kind: (typeof FAULT_KINDS)[number];
  /** Which operation of that kind on that file: 1 is the first after opening begins. */
  readonly at: number;
  readonly repeat: "once" | "from-then-on";
  readonly errno: "EIO" | "ENOSPC";
  /** A failing write or copy has written its first half, up to a sector's end. */
  readonly torn: boolean;
}

export class FaultStorage extends WrappedStorage {
  readonly role: "image" | "data";
  readonly #inner: Storage;
  readonly #fault: Fault | undefined;
  readonly #counts = new Map<string, number>();

  constructor(inner: Storage, role: "image" | "data", fault: Fault | undefined) {
    super(inner);
    this.#inner = inner;
    this.role = role;
    this.#fault = fault;
    const { copyFrom } = inner;
    if (copyFrom === undefined) return;
    this.copyFrom = async (offset, from) => {
      const met = this.#meet("copyFrom");
      if (met === undefined) return await copyFrom.call(inner, offset, from);
      // A copy that fails says so, and leaves it to whoever writes instead to learn what is wrong.
      await this.#tear(met, offset, await readStored(from));
      return false;
    };
  }

  /** Operations of a kind so far. */
  countOf(kind: Fault["kind"]): number {
    return this.#counts.get(kind) ?? 0;
  }

  protected override async before({ kind, offset }: StorageOperation, from?: Uint8Array): Promise<void> {
    const met = this.#meet(kind);
    if (met === undefined) return;
    if (from !== undefined) await this.#tear(met, offset, from);
    throw new Qcow2Error("io", `${this.name}: ${kind} at ${offset} failed: ${met.errno} (injected)`, {
      operation: kind,
      name: this.name,
      offset,
      errno: met.errno,
    });
  }

  /** Counts the operation; the fault that it meets, if it meets one. */
  #meet(kind: StorageOperation["kind"]): Fault | undefined {
    const count = (this.#counts.get(kind) ?? 0) + 1;
    this.#counts.set(kind, count);
    const fault = this.#fault;
    if (fault === undefined || fault.role !== this.role || fault.kind !== kind) return undefined;
    const isMet = fault.repeat === "once" ? count === fault.at : count >= fault.at;
    return isMet ? fault : undefined;
  }

  async #tear({ torn }: Fault, offset: number, from: Uint8Array): Promise<void> {
    const middle = Math.floor((offset + from.length / 2) / 512) * 512 - offset;
    if (torn && middle > 0) await this.#inner.write(offset, from.subarray(0, middle));
  }
}
