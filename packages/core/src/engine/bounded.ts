/** Work on many things at once, none of which outlives the call. */

/**
 * Runs `work` on each item with at most `limit` under way. The first failure is thrown after everything that was
 * started has ended, so that no work outlives the call.
 */
export async function runBounded<Item>(
  limit: number,
  items: readonly Item[],
  work: (item: Item) => Promise<void> | undefined,
): Promise<void> {
  let next = 0;
  let failed = false;
  const runner = async (): Promise<void> => {
    while (next < items.length && !failed) {
      try {
        await work(items[next++] as Item);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const results = await Promise.allSettled(Array.from({ length: Math.min(limit, items.length) }, runner));
  const failure = results.find((result) => result.status === "rejected");
  if (failure !== undefined) throw failure.reason;
}

/** What all of `jobs` have; the first failure is thrown after every one has ended, so that no work outlives the call. */
export async function allEnded<Result>(jobs: readonly (Result | Promise<Result>)[]): Promise<Result[]> {
  await Promise.allSettled(jobs);
  return await Promise.all(jobs);
}
