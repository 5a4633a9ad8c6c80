/** What the fuzzer holds every operation to. */
export type Oracle =
  /** Errors are `Qcow2Error`; nothing else is thrown. */
  | "typed-error"
  /** An operation ends, with storage operations in proportion to the file. */
  | "bounded-work"
  | "bounded-memory"
  | "bounded-growth"
  /** Reading changes nothing. */
  | "read-only"
  /** The map has no gaps, and what it calls zero reads as zeroes. */
  | "map"
  /** What could be read before a change reads as it should afterwards. */
  | "content"
  /** What could be read before a repair reads the same after it. */
  | "repair-content"
  /** An image that a repair calls sound opens and is clean. */
  | "repair-clean"
  /** Images that QEMU reads are read the same, or refused. */
  | "same-as-qemu";

/** A case that an oracle does not let pass. */
export class FuzzFind extends Error {
  readonly oracle: Oracle;
  readonly operation: string;

  constructor(oracle: Oracle, operation: string, message: string) {
    super(`${oracle}, ${operation}: ${message}`);
    this.oracle = oracle;
    this.operation = operation;
  }

  /** The same for all cases of one kind, as far as that can be told. */
  get signature(): string {
    const what = this.message.split("\n")[0] as string;
    return what.replaceAll(/0x[0-9a-f]+|\d+n?/g, "#");
  }
}

/** How often something was looked at, by name. */
export type Figures = Map<string, number>;

export function count(figures: Figures, name: string, by = 1): void {
  figures.set(name, (figures.get(name) ?? 0) + by);
}
