/** Range locks serialise what overlaps, and nothing else, however much waits. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { RangeLock } from "../../src/engine/async-lock.ts";

it("runs what overlaps one after the other, in the order of the calls, and the rest at once", async () => {
  const range = fc.record({
    start: fc.nat(5000),
    length: fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 4000 })),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(range, { maxLength: 60 }), fc.scheduler(), async (drawn, scheduler) => {
      const lock = new RangeLock();
      const ranges = drawn.map(({ start, length }) => ({ start, end: start + length }));
      const running = new Set<number>();
      const started: number[] = [];
      const overlap = (one: number, other: number): boolean =>
        ranges[one]!.start < ranges[other]!.end && ranges[other]!.start < ranges[one]!.end;
      const all = ranges.map(({ start, end }, index) =>
        lock.run(start, end, async () => {
          for (const other of running)
            if (overlap(index, other)) throw new Error(`${index} and ${other} at once`);
          for (const later of started)
            if (later > index && overlap(index, later)) throw new Error(`${later} before ${index}`);
          running.add(index);
          started.push(index);
          await scheduler.schedule(Promise.resolve(), `range ${index}`);
          running.delete(index);
        }),
      );
      await Promise.resolve();
      await Promise.resolve();
      for (const index of ranges.keys()) {
        const isFirst = [...ranges.keys()].every((other) => other >= index || !overlap(index, other));
        if (isFirst && !started.includes(index)) throw new Error(`${index} waits for nothing`);
      }
      await scheduler.waitFor(Promise.all(all));
      expect(started.length).toBe(ranges.length);
    }),
    { numRuns: 200 },
  );
});

it("lets go after a failure", async () => {
  const lock = new RangeLock();
  await expect(lock.run(0, 10, () => Promise.reject(new Error("failed")))).rejects.toThrow("failed");
  expect(await lock.run(5, 6, async () => "next")).toBe("next");
});

it("serves a hundred thousand requests that wait for each other", async () => {
  const lock = new RangeLock();
  let done = 0;
  await Promise.all(
    Array.from({ length: 100_000 }, (_, index) =>
      lock.run(index % 100, (index % 100) + 1 + (index % 3), async () => {
        done++;
      }),
    ),
  );
  expect(done).toBe(100_000);
});
