import { setTimeout as sleep } from "node:timers/promises";
import type { Worker } from "node:worker_threads";
import zlib from "node:zlib";
import { describe, expect, it, onTestFinished } from "vitest";
import { bufferPrimitives } from "../src/buffer-primitives.ts";
import { ClusterBatches } from "../src/codecs/cluster-batches.ts";
import type { CodecTask } from "../src/codecs/codec-job.ts";
import { nativeZstd } from "../src/codecs/node-zlib.ts";
import { startCodecWorker } from "../src/codecs/start-codec-worker.ts";
import { WorkerPool } from "../src/codecs/worker-pool.ts";
import {
  compressTask,
  FAILURES,
  goodWorker,
  noThread,
  workerThat,
  workerThatFailsToStart,
} from "./broken-workers.ts";
import { incompressible, mixed } from "./bytes.ts";

/** A pool whose workers are made by `start`, which is told how many were before. */
function poolOf(
  threads: number,
  start: (index: number) => Worker,
): { pool: WorkerPool; count: () => number } {
  let count = 0;
  const pool = new WorkerPool(threads, () => start(count++));
  onTestFinished(() => pool.close());
  return { pool, count: () => count };
}

/** Runs the task, and fails unless what it answers is right. */
async function runWell(pool: WorkerPool, task: CodecTask): Promise<void> {
  const [length] = await pool.run(task);
  const stored = new Uint8Array(task.output, 0, length).slice();
  expect(zlib.inflateRawSync(stored).equals(Buffer.from(task.input))).toBe(true);
}

describe("a worker that fails", () => {
  it.each(Object.entries(FAILURES))(
    "%s: what it had is done by another, and what it left is written over",
    async (_name, onJob) => {
      const { pool, count } = poolOf(1, (index) => (index === 0 ? workerThat(onJob) : goodWorker()));
      await Promise.all(Array.from({ length: 5 }, (_, index) => runWell(pool, compressTask(1000, index))));
      // What had been answered when it ended may have been all.
      expect(count()).toBeLessThanOrEqual(2);
    },
  );

  it.each(["ends in the middle", "throws later", "says nonsense"])(
    "%s: if all do, the calling thread does the work",
    async (name) => {
      const { pool, count } = poolOf(2, () => workerThat(FAILURES[name]!));
      await Promise.all(Array.from({ length: 6 }, (_, index) => runWell(pool, compressTask(1000, index))));
      expect(count()).toBeLessThanOrEqual(6);
    },
  );

  it("cannot be sent the task: it is done here", async () => {
    const { pool } = poolOf(1, goodWorker);
    const unsendable = { ...compressTask(1000, 3), no: () => {} };
    await Promise.all([runWell(pool, compressTask(1000, 1)), runWell(pool, unsendable)]);
    await runWell(pool, compressTask(1000, 2));
  });

  it("says something that cannot be read: its thread is gone before another touches its buffers", async () => {
    const { pool } = poolOf(1, (index) => {
      if (index > 0) return goodWorker();
      const worker = workerThat("setInterval(fill, 1)");
      worker.once("online", () => setTimeout(() => worker.emit("messageerror", new Error("unreadable")), 50));
      return worker;
    });
    const task = compressTask(100_000, 5);
    await runWell(pool, task);
    await expectUntouched(task);
  });

  it.each(["messageerror", "error"])(
    "is busy when it is given up (%s): nothing is done until it has ended",
    async (event) => {
      let hasEnded = false;
      const { pool } = poolOf(1, (index) => {
        if (index > 0) {
          expect(hasEnded).toBe(true);
          return goodWorker();
        }
        const worker = workerThat("setImmediate(() => { for (;;) fill(); })");
        worker.once("exit", () => (hasEnded = true));
        worker.once("online", () => setTimeout(() => worker.emit(event, new Error("out of order")), 50));
        return worker;
      });
      const task = compressTask(100_000, 6);
      await runWell(pool, task);
      await expectUntouched(task);
    },
  );

  it("is ended from outside: its tasks are done", async () => {
    const { pool } = poolOf(1, (index) => {
      if (index > 0) return goodWorker();
      const worker = workerThat("");
      worker.once("online", () => setTimeout(() => void worker.terminate(), 50));
      return worker;
    });
    await Promise.all([runWell(pool, compressTask(1000, 1)), runWell(pool, compressTask(1000, 2))]);
  });
});

/** Once a task has its answer, nobody writes to its buffers. */
async function expectUntouched({ output }: CodecTask): Promise<void> {
  const bytes = new Uint8Array(output).fill(0x11);
  await sleep(30);
  expect(bytes.every((byte) => byte === 0x11)).toBe(true);
}

describe("where no thread can be had", () => {
  const starts = { "refused at once": noThread, "failing a little later": workerThatFailsToStart };

  it.each(Object.entries(starts))("%s: the calling thread does the work", async (_name, start) => {
    const { pool, count } = poolOf(3, start);
    await Promise.all(Array.from({ length: 40 }, (_, index) => runWell(pool, compressTask(1000, index))));
    expect(count(), "attempts to start one").toBeLessThan(20);
  });

  it.each(Object.entries(starts))(
    "%s: a worker that comes later never touches the tasks of before",
    async (_name, start) => {
      const { pool } = poolOf(1, (index) => (index === 0 ? start() : goodWorker()));
      const before = Array.from({ length: 4 }, (_, index) => compressTask(1000, index));
      await Promise.all(before.map((task) => runWell(pool, task)));
      for (const { output } of before) new Uint8Array(output).fill(0x11);
      await sleep(120);
      await Promise.all(Array.from({ length: 4 }, (_, index) => runWell(pool, compressTask(1000, index))));
      for (const task of before) await expectUntouched(task);
    },
  );

  it("does with those that there are", async () => {
    const { pool, count } = poolOf(4, (index) => (index === 0 ? goodWorker() : noThread()));
    const tasks = Array.from({ length: 30 }, (_, index) => compressTask(1000, index));
    await Promise.all(tasks.map((task) => runWell(pool, task)));
    expect(count()).toBeGreaterThan(1);
  });

  it("lets the event loop have its turn between the pieces", async () => {
    const { pool } = poolOf(1, noThread);
    const piece = compressTask(10_000).pieces[0]!;
    const task = { ...compressTask(10_000), pieces: Array.from({ length: 20 }, () => piece) };
    let turns = 0;
    let isDone = false;
    const turn = (): void => {
      turns++;
      if (!isDone) setImmediate(turn);
    };
    turn();
    await pool.run(task);
    isDone = true;
    expect(turns).toBeGreaterThanOrEqual(20);
  });

  it("reports what the codec says, as itself", async () => {
    const { pool } = poolOf(1, noThread);
    await expect(pool.run({ ...compressTask(10), level: 77 })).rejects.toThrow(/level/);
    await expect(pool.run({ ...compressTask(10), operation: "decompress" })).rejects.toThrow();
    await runWell(pool, compressTask(10));
  });
});

describe("a task that fails by itself", () => {
  it("is rejected, and the worker goes on", async () => {
    const { pool, count } = poolOf(1, startCodecWorker);
    if (nativeZstd() === undefined) {
      await expect(pool.run({ ...compressTask(10), type: "zstd" })).rejects.toThrow(/zstd/);
    }
    await expect(pool.run({ ...compressTask(10), level: 77 })).rejects.toThrow(/level/);
    await expect(pool.run({ ...compressTask(10), operation: "decompress" })).rejects.toThrow();
    await runWell(pool, compressTask(1000));
    expect(count()).toBe(1);
  });

  it("for want of memory in the worker is done here", async () => {
    const { pool } = poolOf(1, () =>
      workerThat('post({ id: job.id, error: "no memory", outOfMemory: true })'),
    );
    const [length] = await pool.run(compressTask(1000, 7));
    expect(length).toBeLessThan(100);
    const stored = zlib.deflateRawSync(Buffer.alloc(1000, 7));
    const input = new SharedArrayBuffer(stored.length);
    new Uint8Array(input).set(stored);
    const output = new SharedArrayBuffer(1000);
    const pieces = [{ inputStart: 0, inputLength: stored.length, outputStart: 0, outputLength: 1000 }];
    await pool.run({ operation: "decompress", type: "zlib", level: undefined, input, output, pieces });
    expect(Buffer.from(output).equals(Buffer.alloc(1000, 7))).toBe(true);
  });
});

describe("closing", () => {
  it.each([
    ["never answers", ""],
    ["is busy for ever", "for (;;) fill();"],
    ["answers while it is closed", "setTimeout(() => { for (;;) void answer(); }, 1)"],
  ])("rejects what is under way and what waits, when the worker has ended: it %s", async (_name, onJob) => {
    const { pool } = poolOf(1, () => workerThat(onJob));
    const tasks = Array.from({ length: 5 }, () => compressTask(10));
    const results = Promise.allSettled(tasks.map((task) => pool.run(task)));
    await sleep(100);
    await Promise.all([pool.close(), pool.close()]);
    for (const result of await results) {
      if (result.status === "rejected") expect(result.reason).toMatchObject({ code: "closed" });
    }
    expect((await results).at(-1)!.status).toBe("rejected");
    for (const task of tasks) await expectUntouched(task);
    await expect(pool.run(compressTask(10))).rejects.toMatchObject({ code: "closed" });
  });

  it.each([
    ["before a worker has started", goodWorker],
    ["while the calling thread works", noThread],
    ["while a worker fails to start", workerThatFailsToStart],
  ])("rejects everything %s", async (_name, start) => {
    const { pool, count } = poolOf(1, start);
    const results = Promise.allSettled(Array.from({ length: 5 }, () => pool.run(compressTask(10))));
    await pool.close();
    for (const result of await results) expect(result).toMatchObject({ reason: { code: "closed" } });
    await sleep(20);
    expect(count()).toBe(1);
  });
});

it("starts no more workers than it may, and none before there is work", async () => {
  const { pool, count } = poolOf(2, goodWorker);
  expect(count()).toBe(0);
  await runWell(pool, compressTask(10));
  expect(count()).toBe(1);
  await Promise.all(Array.from({ length: 20 }, () => runWell(pool, compressTask(10))));
  expect(count()).toBe(2);
});

describe("batches of clusters whose workers fail as they like", () => {
  const CLUSTER = 4096;

  it("are right, and buffers are used again only when nobody has them", async () => {
    const draw = generator(1);
    const failures = Object.values(FAILURES).filter((code) => !code.includes("new Array"));
    const start = (): Worker => {
      const kind = draw(6);
      if (kind === 0) return noThread();
      if (kind === 1) return workerThatFailsToStart();
      const failure = failures[draw(failures.length)]!;
      // Its first jobs are done well, as a rule; then it fails at one.
      return workerThat(`
        globalThis.left = (globalThis.left ?? ${draw(8)}) - 1;
        if (globalThis.left >= 0) void answer(); else { ${failure} }`);
    };
    const { pool } = poolOf(3, start);
    const batches = new ClusterBatches(pool, 1);
    const how = { type: "zlib", level: undefined } as const;
    await Promise.all(
      Array.from({ length: 10 }, async (_, index) => {
        const clusters = Buffer.concat([mixed(200 * CLUSTER), incompressible((1 + index) * CLUSTER, index)]);
        const stored = await batches.compress(how, clusters, CLUSTER);
        const input = Buffer.concat(stored);
        // Where workers write themselves, and where what they wrote is copied.
        const output =
          index % 2 === 0 ? bufferPrimitives.allocate(clusters.length) : Buffer.alloc(clusters.length);
        let start = 0;
        const pieces = stored.map(({ length }, at) => {
          const piece = { start, length, into: output.subarray(at * CLUSTER, (at + 1) * CLUSTER) };
          start += length;
          return piece;
        });
        await batches.decompress("zlib", input.length, async (into) => into.set(input), pieces);
        expect(Buffer.from(output).equals(clusters)).toBe(true);
      }),
    );
  });
});

function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
