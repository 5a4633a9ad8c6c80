import type { StoredBytes } from "@qcow2/core";
import type { CheckedOptions } from "./check-convert-options.ts";
import type { RateLimit } from "./rate-limit.ts";
import type { Piece } from "./stored-pieces.ts";
import type { Turn } from "./task-group.ts";
import { detectZeroes, type Run } from "./zero-detection.ts";

/** A part of a chunk, and how it is written. */
interface Part {
  /** Bytes that count against the rate: none for zeroes. */
  readonly dataBytes: number;
  write(): Promise<void>;
}

/** Writes chunks to the target: plain with zeroes left out, or cluster by cluster in compressed form. */
export class ChunkWriter {
  readonly #checked: CheckedOptions;
  readonly #rateLimit: RateLimit | undefined;
  readonly #isCancelled: () => boolean;
  #bytesWritten = 0;
  #bytesZeroed = 0;

  constructor(checked: CheckedOptions, rateLimit: RateLimit | undefined, isCancelled: () => boolean) {
    this.#checked = checked;
    this.#rateLimit = rateLimit;
    this.#isCancelled = isCancelled;
  }

  get bytesWritten(): number {
    return this.#bytesWritten;
  }

  get bytesZeroed(): number {
    return this.#bytesZeroed;
  }

  /**
   * Looks at a chunk while others are being written; what it returns writes it when its turn has come, and answers with the
   * pieces that the host did not copy. `chunk` has the bytes of those that are not stored; the first begins where it does.
   */
  prepare(chunk: Uint8Array, pieces: readonly Piece[]): (turn: Turn) => Promise<readonly Piece[]> {
    const notCopied: Piece[] = [];
    const origin = pieces[0]?.offset ?? 0;
    const parts = pieces.flatMap((piece): readonly Part[] => {
      const { offset, length, stored } = piece;
      if (stored === undefined)
        return this.#partsOf(offset, chunk.subarray(offset - origin, offset - origin + length));
      const write = async (): Promise<void> => {
        if (!(await this.#copy(offset, stored))) notCopied.push(piece);
      };
      return [{ dataBytes: length, write }];
    });
    return async (turn) => {
      await this.#writeParts(parts, turn);
      return notCopied;
    };
  }

  /** Makes the range read as zeroes. */
  async zero(offset: number, length: number): Promise<void> {
    if (this.#isCancelled()) return;
    await this.#checked.target.writeZeroes({ offset, length, unmap: true });
    this.#bytesZeroed += length;
  }

  #partsOf(offset: number, from: Uint8Array): readonly Part[] {
    const runs = this.#checked.compress ? this.#clustersOf(from) : this.#runsOf(offset, from);
    return runs.map(({ start, end, isData }): Part => {
      if (!isData) return { dataBytes: 0, write: () => this.#zeroRun(offset + start, end - start) };
      return {
        dataBytes: end - start,
        write: () => this.#writeData(offset + start, from.subarray(start, end)),
      };
    });
  }

  #runsOf(offset: number, chunk: Uint8Array): readonly Run[] {
    const { sparseBytes, unitBytes, primitives } = this.#checked;
    if (sparseBytes === 0) return [{ start: 0, end: chunk.length, isData: true }];
    return detectZeroes(chunk, offset, { sparseBytes, unitBytes, isZero: primitives.isZero });
  }

  /** Whole clusters, neighbours of one kind joined. */
  #clustersOf(chunk: Uint8Array): readonly Run[] {
    const { sparseBytes, unitBytes, primitives } = this.#checked;
    const runs: { start: number; end: number; isData: boolean }[] = [];
    for (let start = 0; start < chunk.length; start += unitBytes) {
      const end = Math.min(chunk.length, start + unitBytes);
      const isData = sparseBytes === 0 || !primitives.isZero(chunk, start, end);
      const last = runs.at(-1);
      if (last?.isData === isData) last.end = end;
      else runs.push({ start, end, isData });
    }
    return runs;
  }

  /**
   * Hands all parts to the target, which compresses and writes them side by side and allocates in the order of the calls;
   * so the turn can end as soon as the last one was handed over.
   */
  async #writeParts(parts: readonly Part[], turn: Turn): Promise<void> {
    const writes: Promise<void>[] = [];
    try {
      for (const { dataBytes, write } of parts) {
        if (dataBytes > 0 && this.#rateLimit !== undefined) await this.#rateLimit.take(dataBytes);
        if (this.#isCancelled()) break;
        const writing = write();
        // It is awaited below; until then a failure must not count as one that nobody handles.
        writing.catch(() => {});
        writes.push(writing);
      }
    } finally {
      turn.end();
      await Promise.allSettled(writes);
    }
    await Promise.all(writes);
  }

  async #copy(offset: number, from: StoredBytes): Promise<boolean> {
    const isCopied = (await this.#checked.target.writeStored?.({ offset, from })) ?? false;
    if (isCopied) this.#bytesWritten += from.length;
    return isCopied;
  }

  async #writeData(offset: number, from: Uint8Array): Promise<void> {
    if (this.#checked.compress) await this.#writeClusters(offset, from);
    else await this.#checked.target.write({ offset, from });
    this.#bytesWritten += from.length;
  }

  async #writeClusters(offset: number, from: Uint8Array): Promise<void> {
    const { target, unitBytes } = this.#checked;
    if (target.writeCompressed === undefined) throw new Error("checked before: the target can compress");
    // Where the source ends before the target, its last cluster may be one of which only a part is ours.
    const ofWhole =
      offset + from.length === target.size ? from.length : from.length - (from.length % unitBytes);
    const writes: Promise<void>[] = [];
    if (ofWhole > 0) writes.push(target.writeCompressed({ offset, from: from.subarray(0, ofWhole) }));
    if (ofWhole < from.length) {
      writes.push(target.write({ offset: offset + ofWhole, from: from.subarray(ofWhole) }));
    }
    await Promise.allSettled(writes);
    await Promise.all(writes);
  }

  async #zeroRun(offset: number, length: number): Promise<void> {
    if (!this.#checked.targetIsZero) await this.zero(offset, length);
  }
}
