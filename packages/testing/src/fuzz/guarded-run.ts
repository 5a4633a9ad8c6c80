/** Runs one public operation under all oracles that hold for every operation. */
import { isQcow2Error, type Qcow2Error } from "@qcow2/core";
import { FuzzFind } from "./fuzz-find.ts";
import { BudgetExceeded, type FuzzStorage } from "./fuzz-storage.ts";
import { watchingMemory } from "./watched-memory.ts";

export type Outcome<Result> =
  | { readonly result: Result; readonly error?: undefined }
  | { readonly result?: undefined; readonly error: Qcow2Error };

export interface GuardOptions {
  readonly storages: readonly FuzzStorage[];
  readonly clusterSize: number;
  /** Guest bytes that are read or written: they count as stored. */
  readonly bytes?: number;
  /** Bytes that the files may grow by, besides what tables take. */
  readonly growth?: number;
}

/** Turns of the event loop without an operation on a storage after which nothing will come any more. */
const IDLE_TURNS = 1000;
/** Memory that is not counted: windows and pieces of fixed sizes. */
const FREE_MEMORY: number = 2 ** 20;

export async function guarded<Result>(
  operation: string,
  options: GuardOptions,
  work: () => Promise<Result>,
): Promise<Outcome<Result>> {
  const { storages, bytes = 0, growth = 0 } = options;
  // Breaking can say anything of the cluster size; what is stored is counted in the smaller unit.
  const clusterSize = Math.max(512, options.clusterSize);
  const stored = storages.reduce((sum, { content }) => sum + content.length, 0) + bytes;
  const clusters = Math.ceil(stored / 512);
  for (const storage of storages) {
    storage.limit({
      operations: 3000 + 40 * clusters,
      bytes: 64 * 2 ** 20 + 200 * stored,
      readBytes: FREE_MEMORY + 2 * stored + 2 * clusterSize,
      size: 2 * storage.content.length + 3 * growth + 64 * clusterSize + FREE_MEMORY,
    });
  }
  try {
    const most = 8 * FREE_MEMORY + 4 * stored + 4 * clusterSize;
    const { result, tooLarge } = await watchingMemory(most, () => settled(operation, storages, work));
    for (const { exceeded } of storages) if (exceeded !== undefined) throw exceeded;
    if (tooLarge !== undefined) throw new FuzzFind("bounded-memory", operation, tooLarge);
    return result;
  } catch (error) {
    if (error instanceof BudgetExceeded) throw exceededFind(operation, error);
    throw error;
  } finally {
    for (const storage of storages) storage.limit(undefined);
  }
}

async function settled<Result>(
  operation: string,
  storages: readonly FuzzStorage[],
  work: () => Promise<Result>,
): Promise<Outcome<Result>> {
  let outcome: Outcome<Result> | { readonly thrown: unknown } | undefined;
  work().then(
    (result) => {
      outcome = { result };
    },
    (thrown: unknown) => {
      outcome = { thrown };
    },
  );
  const done = (): number => storages.reduce((sum, { operations }) => sum + operations, 0);
  for (let idle = 0, before = -1; outcome === undefined; idle++) {
    await new Promise((resolve) => setImmediate(resolve));
    const now = done();
    if (now !== before) idle = 0;
    before = now;
    if (idle > IDLE_TURNS) throw new FuzzFind("bounded-work", operation, "it never ends");
  }
  if (!("thrown" in outcome)) return outcome;
  const { thrown } = outcome;
  if (thrown instanceof FuzzFind || thrown instanceof BudgetExceeded) throw thrown;
  return { error: assertTyped(operation, thrown) };
}

/** Also what is wrapped: "io" says that a storage failed, and these do not. */
function assertTyped(operation: string, error: unknown): Qcow2Error {
  if (!isQcow2Error(error)) throw new FuzzFind("typed-error", operation, describe(error));
  if (error.cause !== undefined && error.code !== "decompress-failed") assertTyped(operation, error.cause);
  else if (isQcow2Error(error, "io") || isQcow2Error(error, "closed")) {
    throw new FuzzFind("typed-error", operation, describe(error));
  }
  return error;
}

export function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const frames = (error.stack ?? "")
    .split("\n")
    .filter((line) => line.includes(" at "))
    .slice(0, 6)
    .map((line) => line.trim().replace(/\(?(file:\/\/)?\/.*\/(packages|node_modules)\//, "("));
  return `${error.name}: ${error.message}\n${frames.join("\n")}`;
}

function exceededFind(operation: string, error: BudgetExceeded): FuzzFind {
  const oracle = error.message.includes("would grow") ? "bounded-growth" : "bounded-work";
  return new FuzzFind(oracle, operation, describe(error).replace(/^\w+: /, ""));
}
