/** What each sector of a guest disk has held over time, and what it may hold after a power cut. */

const SECTOR = 512;

/** One content of one sector. */
export interface SectorVersion {
  readonly sector: number;
  readonly bytes: Uint8Array;
  /** Moment at which the operation that made it began. */
  readonly begun: number;
  /** Moment at which that operation had completed; infinite until then. */
  completed: number;
}

interface CompletedFlush {
  readonly begun: number;
  readonly completed: number;
}

export class SectorHistory {
  readonly #initial: Uint8Array;
  readonly #versions = new Map<number, SectorVersion[]>();
  readonly #flushes: CompletedFlush[] = [];

  constructor(initial: Uint8Array) {
    this.#initial = initial;
  }

  /** An operation that will make the guest read `bytes` at `offset` begins. */
  begin(offset: number, bytes: Uint8Array, moment: number): SectorVersion[] {
    const begun: SectorVersion[] = [];
    for (let at = offset; at < offset + bytes.length; ) {
      const sector = Math.floor(at / SECTOR);
      const next = Math.min((sector + 1) * SECTOR, offset + bytes.length);
      const versions = this.#versionsOf(sector);
      const content = (versions[versions.length - 1] as SectorVersion).bytes.slice();
      content.set(bytes.subarray(at - offset, next - offset), at - sector * SECTOR);
      const version = { sector, bytes: content, begun: moment, completed: Number.POSITIVE_INFINITY };
      versions.push(version);
      begun.push(version);
      at = next;
    }
    return begun;
  }

  complete(versions: readonly SectorVersion[], moment: number): void {
    for (const version of versions) version.completed = moment;
  }

  /** A flush that began at one moment had completed at the other. */
  flushed(begun: number, completed: number): void {
    this.#flushes.push({ begun, completed });
  }

  /** Throws if the disk after a cut at `moment` holds what it cannot. */
  expectAllowed(disk: Uint8Array, moment: number): void {
    const flush = this.#flushes.filter(({ completed }) => completed <= moment).at(-1);
    for (let sector = 0; sector * SECTOR < disk.length; sector++) {
      const actual = disk.subarray(sector * SECTOR, (sector + 1) * SECTOR);
      const versions = this.#versions.get(sector);
      if (versions === undefined) {
        if (!isEqual(actual, this.#initialOf(sector))) throw wrong(sector, "was never touched", actual);
        continue;
      }
      const begun = versions.filter((version) => version.begun <= moment);
      const kept = flush === undefined ? 0 : begun.findLastIndex(({ completed }) => completed <= flush.begun);
      const allowed = begun.slice(Math.max(0, kept));
      if (allowed.some(({ bytes }) => isEqual(actual, bytes))) continue;
      const isOlder = begun.some(({ bytes }) => isEqual(actual, bytes));
      throw wrong(
        sector,
        isOlder ? "has lost what was flushed" : `has none of ${allowed.length} contents`,
        actual,
      );
    }
  }

  #versionsOf(sector: number): SectorVersion[] {
    let versions = this.#versions.get(sector);
    if (versions === undefined) {
      versions = [{ sector, bytes: this.#initialOf(sector), begun: 0, completed: 0 }];
      this.#versions.set(sector, versions);
    }
    return versions;
  }

  #initialOf(sector: number): Uint8Array {
    return this.#initial.slice(sector * SECTOR, (sector + 1) * SECTOR);
  }
}

function isEqual(first: Uint8Array, second: Uint8Array): boolean {
  return Buffer.compare(first, second) === 0;
}

function wrong(sector: number, what: string, actual: Uint8Array): Error {
  const start = Buffer.from(actual.subarray(0, 16)).toString("hex");
  return new Error(`sector ${sector} (guest offset ${sector * SECTOR}) ${what}; it begins with ${start}`);
}
