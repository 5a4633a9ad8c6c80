/** What each sector of a guest disk may hold, where some operations fail. */

const SECTOR = 512;

export class SectorCandidates {
  readonly #initial: Uint8Array;
  /** What a reader may see now; sectors that nothing touched are missing. */
  readonly #current = new Map<number, Uint8Array[]>();
  /** What may be on the disk: everything that was possible since the last flush. */
  readonly #sinceFlush = new Map<number, Uint8Array[]>();

  constructor(initial: Uint8Array) {
    this.#initial = initial;
  }

  /** An operation that makes the guest read `bytes` at `offset` succeeded, or failed and may have happened in part. */
  apply(offset: number, bytes: Uint8Array, outcome: "succeeded" | "failed"): void {
    for (let at = offset; at < offset + bytes.length; ) {
      const sector = Math.floor(at / SECTOR);
      const next = Math.min((sector + 1) * SECTOR, offset + bytes.length);
      const before = this.#current.get(sector) ?? [this.#initialOf(sector)];
      const after = before.map((content) => {
        const changed = content.slice();
        changed.set(bytes.subarray(at - offset, next - offset), at - sector * SECTOR);
        return changed;
      });
      const possible = distinct(outcome === "failed" ? [...before, ...after] : after);
      this.#sinceFlush.set(sector, distinct([...(this.#sinceFlush.get(sector) ?? before), ...possible]));
      this.#current.set(sector, possible);
      at = next;
    }
  }

  /** A flush succeeded, with no change under way. */
  flushed(): void {
    this.#sinceFlush.clear();
    for (const [sector, possible] of this.#current) this.#sinceFlush.set(sector, possible);
  }

  /** Throws if `disk` holds what a reader cannot see now; with "since-flush", what the disk cannot hold. */
  expectAllowed(disk: Uint8Array, when: "now" | "since-flush"): void {
    const candidates = when === "now" ? this.#current : this.#sinceFlush;
    for (let sector = 0; sector * SECTOR < disk.length; sector++) {
      const actual = disk.subarray(sector * SECTOR, (sector + 1) * SECTOR);
      const allowed = candidates.get(sector) ?? [this.#initialOf(sector)];
      if (allowed.some((content) => Buffer.compare(content, actual) === 0)) continue;
      const start = Buffer.from(actual.subarray(0, 16)).toString("hex");
      throw new Error(
        `sector ${sector} has none of its ${allowed.length} possible contents; it begins with ${start}`,
      );
    }
  }

  #initialOf(sector: number): Uint8Array {
    return this.#initial.slice(sector * SECTOR, (sector + 1) * SECTOR);
  }
}

function distinct(contents: readonly Uint8Array[]): Uint8Array[] {
  const kept: Uint8Array[] = [];
  for (const content of contents) {
    if (!kept.some((other) => Buffer.compare(other, content) === 0)) kept.push(content);
  }
  return kept;
}
