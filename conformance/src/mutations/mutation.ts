/** A mistake that another qcow2 writer has made, or that this one could make: one changed place of the sources. */
export interface Mutation {
  readonly name: string;
  /** Of the repository: `packages/core/src/…`. */
  readonly file: string;
  /** Occurs exactly once in the file. */
  readonly find: string;
  readonly replace: string;
  /** The suite that finds it, which is then asked first; any other may find it as well. */
  readonly suite?: string;
  /** Of a suite of tests, the file that finds it, below the package's `test`: it is asked before all others. */
  readonly tests?: string;
  /** The engine's shape on which that suite finds it. */
  readonly shape?: string;
}
