/** A benchmark of wrong results is worth nothing: every result is judged, and a wrong one ends the benchmark. */
import { isDeepStrictEqual } from "node:util";
import { execa } from "execa";
import type { Measurement } from "../measure/measure-process.ts";
import type { BenchmarkCase, InputPaths } from "./cases.ts";
import type { Contestant } from "./contestants.ts";

export class WrongResult extends Error {
  override readonly name = "WrongResult";
}

export interface Judge {
  /** qemu-img, which judges everything, its own results included; ours only if there is no qemu-img. */
  readonly tool: Contestant;
  readonly inputs: InputPaths;
}

/** @throws WrongResult */
export async function verify(
  judge: Judge,
  run: { readonly benchmark: BenchmarkCase; readonly contestant: Contestant; readonly output: string },
  result: Measurement,
): Promise<void> {
  const { benchmark, contestant, output } = run;
  const fail = (why: string): never => {
    throw new WrongResult(`${contestant.name}, ${benchmark.title}: ${why}`);
  };
  if (result.exitCode !== 0) fail(`ended with ${result.exitCode}: ${result.stderr.trim()}`);
  if (benchmark.writes === undefined || contestant.kind === "copy") {
    // A copy's content is judged as a raw disk's; an answer is compared with the judge's.
    if (contestant.kind === "copy") return await verifyContent(judge, output, "raw", fail);
    return await verifyAnswer(judge, benchmark, result, fail);
  }
  await verifyContent(judge, output, benchmark.writes, fail);
  if (benchmark.writes === "qcow2") await verifyImage(judge, output, benchmark.compression, fail);
}

type Fail = (why: string) => never;

async function verifyContent(judge: Judge, output: string, format: string, fail: Fail): Promise<void> {
  const { exitCode, stdout, stderr } = await ask(judge, [
    ...["compare", "-f", "raw", "-F", format],
    ...[judge.inputs.raw, output],
  ]);
  if (exitCode !== 0) fail(`the output is not what was read: ${stdout}${stderr}`);
}

async function verifyImage(
  judge: Judge,
  output: string,
  compression: BenchmarkCase["compression"],
  fail: Fail,
): Promise<void> {
  const { exitCode, stdout, stderr } = await ask(judge, ["check", "--output=json", "-f", "qcow2", output]);
  if (exitCode !== 0) fail(`check finds errors: ${stdout}${stderr}`);
  const compressed = Number(parseRecord(stdout)["compressed-clusters"] ?? 0);
  // Not compressing would be fast.
  if (compression === undefined && compressed > 0) fail("the output is compressed");
  if (compression === undefined) return;
  if (compressed === 0) fail("the output is not compressed");
  const info = await ask(judge, ["info", "--output=json", "-f", "qcow2", output]);
  const type = /"compression-type": "(\w+)"/.exec(info.stdout)?.[1];
  const wanted = compression === "deflate" ? "zlib" : compression;
  if (type !== wanted) fail(`the output is compressed with ${type}, not ${wanted}`);
}

/** What of an answer must equal the judge's; the whole text is the conformance suite's matter. */
async function verifyAnswer(
  judge: Judge,
  benchmark: BenchmarkCase,
  result: Measurement,
  fail: Fail,
): Promise<void> {
  if (benchmark.id === "compare") {
    if (result.stdout.trim() !== "Images are identical.") fail(`answered '${result.stdout.trim()}'`);
    return;
  }
  const theirs = await ask(judge, benchmark.args(judge.inputs, ""));
  const keys = ANSWER_KEYS[benchmark.id];
  const pick = (text: string): unknown =>
    keys === undefined ? JSON.parse(text) : keys.map((key) => parseRecord(text)[key]);
  if (!isDeepStrictEqual(pick(result.stdout), pick(theirs.stdout))) {
    fail(`answers otherwise than ${judge.tool.name}`);
  }
}

/** Without keys the whole answer is compared. */
const ANSWER_KEYS: Readonly<Record<string, readonly string[]>> = {
  check: ["image-end-offset", "total-clusters", "allocated-clusters", "check-errors", "leaks", "corruptions"],
  info: ["virtual-size", "format", "cluster-size", "actual-size"],
};

async function ask(
  { tool }: Judge,
  args: readonly string[],
): Promise<Pick<Measurement, "exitCode" | "stdout" | "stderr">> {
  const [program, ...fixed] = tool.command;
  const result = await execa(program, [...fixed, ...args], {
    reject: false,
    stdin: "ignore",
    env: { LC_ALL: "C" },
    maxBuffer: 2 ** 30,
  });
  // A judge that a signal ended has not agreed.
  const { exitCode = -1, stdout = "", stderr = "" } = result;
  return { exitCode, stdout, stderr };
}

function parseRecord(text: string): Record<string, unknown> {
  const value: unknown = JSON.parse(text);
  if (typeof value !== "object" || value === null) throw new Error(`not a JSON object: ${text.slice(0, 80)}`);
  return { ...value };
}
