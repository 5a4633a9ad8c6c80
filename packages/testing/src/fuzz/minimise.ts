/** The smallest case that is still found for the same reason. */
import type { FuzzCase, FuzzShape } from "./fuzz-case.ts";
import { FuzzFind } from "./fuzz-find.ts";

export interface MinimiseOptions {
  readonly run: (drawn: FuzzCase) => Promise<void>;
  /** Cases that are tried, at most. */
  readonly tries: number;
}

/** Drops breaks one by one, then changes, then what the valid image is made of, for as long as it is found. */
export async function minimise(
  drawn: FuzzCase,
  found: FuzzFind,
  { run, tries }: MinimiseOptions,
): Promise<{ readonly drawn: FuzzCase; readonly find: FuzzFind }> {
  let smallest = { drawn, find: found };
  let left = tries;
  for (let isSmaller = true; isSmaller && left > 0; ) {
    isSmaller = false;
    for (const candidate of simplerThan(smallest.drawn)) {
      if (left-- <= 0) break;
      const find = await findOf(candidate, run);
      if (find?.oracle !== found.oracle || find.operation !== found.operation) continue;
      smallest = { drawn: candidate, find };
      isSmaller = true;
      break;
    }
  }
  return smallest;
}

async function findOf(
  drawn: FuzzCase,
  run: (drawn: FuzzCase) => Promise<void>,
): Promise<FuzzFind | undefined> {
  try {
    await run(drawn);
    return undefined;
  } catch (error) {
    // A simpler shape may be none that can be made.
    return error instanceof FuzzFind ? error : undefined;
  }
}

function* simplerThan(drawn: FuzzCase): Generator<FuzzCase> {
  const { breaks, changes, shape, open } = drawn;
  for (const index of breaks.keys()) yield { ...drawn, breaks: breaks.toSpliced(index, 1) };
  if (changes.length > 0) yield { ...drawn, changes: [] };
  for (const index of changes.keys()) yield { ...drawn, changes: changes.toSpliced(index, 1) };
  for (const simpler of simplerShapes(shape)) yield { ...drawn, shape: simpler };
  const plain = {
    cacheBytes: 2 ** 20,
    discard: "ignore",
    overlapCheck: "cached",
    metadataOnly: false,
    sparse: false,
  } as const;
  for (const key of Object.keys(plain) as (keyof typeof plain)[]) {
    if (open[key] !== plain[key]) yield { ...drawn, open: { ...open, [key]: plain[key] } };
  }
}

function* simplerShapes(shape: FuzzShape): Generator<FuzzShape> {
  const { steps, backing, dataFile, marks, options, ...rest } = shape;
  const optional = {
    ...(backing && { backing }),
    ...(dataFile && { dataFile }),
    ...(marks && { marks }),
  };
  for (const index of steps.keys()) yield { ...rest, ...optional, options, steps: steps.toSpliced(index, 1) };
  for (const key of ["backing", "dataFile", "marks"] as const) {
    if (optional[key] === undefined) continue;
    const { [key]: _dropped, ...others } = optional;
    yield { ...rest, ...others, options, steps };
  }
  const { preallocation, ...others } = options;
  if (preallocation !== undefined) yield { ...rest, ...optional, options: others, steps };
  if (options.extendedL2) yield { ...rest, ...optional, options: { ...options, extendedL2: false }, steps };
  if (options.lazyRefcounts)
    yield { ...rest, ...optional, options: { ...options, lazyRefcounts: false }, steps };
  if (shape.clusters > 3) yield { ...rest, ...optional, clusters: 3, options, steps };
}
