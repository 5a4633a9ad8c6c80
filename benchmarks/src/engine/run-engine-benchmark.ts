/** The engine against the same requests on a raw file through the same storage, in one process, in turn. */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { measureStorageCost, STORAGE_COST_CASES } from "@qcow2/testing";
import { Random } from "../disk/random.ts";
import { describeMachine } from "../run/machine.ts";
import { assertSameContent, CLUSTER_BYTES, type DiskPair, makePair } from "./disk-pairs.ts";
import { ENGINE_CASES, titleOf } from "./engine-cases.ts";
import type { CostResult, EngineCase, EngineCaseResult, EngineResults, Subject } from "./engine-results.ts";
import { drawOffsets } from "./io-sequence.ts";
import { timeRequests } from "./timed-io.ts";

/** Rounds before those that count: code is compiled, tables are loaded. */
const WARM_UP_ROUNDS = 4;
/** Requests of one round. */
const SMALL_REQUESTS = 1024;
const LARGE_REQUESTS = 512;
/** Turns of each side in a round: a few milliseconds each, so that what disturbs one side disturbs the other, too. */
const TURNS = 8;
/** From this many bytes on, a request is a large one. */
const LARGE_BYTES = 32768;

export interface EngineBenchmarkOptions {
  /** Of each case; at least 1. */
  readonly rounds: number;
  readonly sizeBytes: number;
  readonly seed: number;
  /** An existing folder on the file system that is to be measured; a folder is made in it and removed in the end. */
  readonly folder: string;
  /** Only cases whose title contains it; undefined for all. */
  readonly only?: string | undefined;
  onCase?(result: EngineCaseResult): void;
}

/** @throws WrongResult if both disks do not hold the same in the end */
export async function runEngineBenchmark(options: EngineBenchmarkOptions): Promise<EngineResults> {
  const { only, sizeBytes, seed } = options;
  const chosen = ENGINE_CASES.filter(
    (engineCase) => only === undefined || titleOf(engineCase).includes(only),
  );
  const folder = mkdtempSync(join(options.folder, "qcow2-engine-"));
  const cleanUp = (): void => rmSync(folder, { recursive: true, force: true });
  const stop = (): void => {
    cleanUp();
    process.exit(130);
  };
  process.on("SIGINT", stop).on("SIGTERM", stop);
  try {
    const machine = await describeMachine(folder);
    const cases: EngineCaseResult[] = [];
    for (const subject of new Set(chosen.map((engineCase) => engineCase.subject))) {
      const ofSubject = chosen.filter((engineCase) => engineCase.subject === subject);
      cases.push(...(await runSubject(subject, ofSubject, folder, options)));
    }
    return {
      schema: 1,
      date: new Date().toISOString(),
      machine,
      node: process.versions.node,
      sizeBytes,
      seed,
      cases,
      costs: await measureCosts(),
    };
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
    cleanUp();
  }
}

async function runSubject(
  subject: Subject,
  cases: readonly EngineCase[],
  folder: string,
  options: EngineBenchmarkOptions,
): Promise<EngineCaseResult[]> {
  const results: EngineCaseResult[] = [];
  const run = async (engineCase: EngineCase, pairs: PairSource): Promise<void> => {
    const result = await runCase(engineCase, pairs, options);
    results.push(result);
    options.onCase?.(result);
  };
  if (subject === "fresh") {
    for (const engineCase of cases) {
      await run(engineCase, async (use) => usePair(await makePair(subject, folder, options.sizeBytes), use));
    }
    return results;
  }
  await usePair(await makePair(subject, folder, options.sizeBytes), async (pair) => {
    // Both have the same pages in memory from now on.
    await assertSameContent(pair);
    for (const engineCase of cases) await run(engineCase, (use) => use(pair));
    await assertSameContent(pair);
  });
  return results;
}

/** Lends a pair to one round: the same one each time, or a new one. */
type PairSource = (use: (pair: DiskPair) => Promise<void>) => Promise<void>;

async function usePair(pair: DiskPair, use: (pair: DiskPair) => Promise<void>): Promise<void> {
  try {
    await use(pair);
  } finally {
    await pair.dispose();
  }
}

/** Raw file and engine take turns, and turns at who is first. */
async function runCase(
  engineCase: EngineCase,
  withPair: PairSource,
  { rounds, sizeBytes, seed }: EngineBenchmarkOptions,
): Promise<EngineCaseResult> {
  const requests = engineCase.bytes < LARGE_BYTES ? SMALL_REQUESTS : LARGE_REQUESTS;
  const random = new Random(seed, titleOf(engineCase));
  const data = new Uint8Array(engineCase.bytes);
  const rawSeconds: number[] = [];
  const engineSeconds: number[] = [];
  for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
    const offsets = drawOffsets(engineCase, { sizeBytes, clusterBytes: CLUSTER_BYTES }, requests, random);
    random.fill(data);
    await withPair(async (pair) => {
      const seconds = { raw: 0, engine: 0 };
      for (let turn = 0; turn < TURNS; turn++) {
        const part = offsets.slice((turn * requests) / TURNS, ((turn + 1) * requests) / TURNS);
        const sides = (round + turn) % 2 === 0 ? (["raw", "engine"] as const) : (["engine", "raw"] as const);
        for (const side of sides) seconds[side] += await timeRequests(pair[side], engineCase, part, data);
      }
      if (round >= 0) {
        rawSeconds.push(seconds.raw);
        engineSeconds.push(seconds.engine);
      }
      // Not timed. What one case wrote is not to be written out by the host during the next one.
      if (engineCase.request === "write") await Promise.all([pair.raw.flush(), pair.engine.flush()]);
      if (engineCase.subject === "fresh" && round === rounds - 1) await assertSameContent(pair);
    });
  }
  return { ...engineCase, requests, rawSeconds, engineSeconds };
}

async function measureCosts(): Promise<CostResult[]> {
  const results: CostResult[] = [];
  for (const options of Object.values(STORAGE_COST_CASES)) {
    results.push({ title: options.title, ...(await measureStorageCost(options)) });
  }
  return results;
}
