/** A benchmark of wrong results is worth nothing: every result is judged, and a wrong one ends the benchmark. */
import { isDeepStrictEqual } from "node:util";
import { execa } from "execa";
import type { BenchmarkCase } from "../cases/cases.ts";
import type { AnswerJob, Compression, ConvertJob } from "../cases/jobs.ts";
import type { Contestant } from "../contestants/contestant.ts";
import { imageWords } from "../contestants/image-words.ts";
import { INPUTS } from "../inputs/all-inputs.ts";
import type { ImageTool, InputPaths } from "../inputs/input-kind.ts";
import type { Measurement } from "../measure/measure-process.ts";

export class WrongResult extends Error {
  override readonly name = "WrongResult";
}

type Answer = Pick<Measurement, "exitCode" | "stdout" | "stderr">;

/** Judges the results of one case. */
export class Judge {
  /** qemu-img, which judges everything, its own results included; ours only if there is no qemu-img. */
  readonly #tool: ImageTool;
  readonly #inputs: InputPaths;
  readonly #benchmark: BenchmarkCase;
  /** Inputs do not change: neither does the judge's answer. */
  #answer: Promise<Answer> | undefined;

  constructor(options: {
    readonly tool: ImageTool;
    readonly inputs: InputPaths;
    readonly benchmark: BenchmarkCase;
  }) {
    this.#tool = options.tool;
    this.#inputs = options.inputs;
    this.#benchmark = options.benchmark;
  }

  /** @param output what the contestant wrote, if the job writes @throws WrongResult */
  async verify(contestant: Contestant, output: string, result: Answer): Promise<void> {
    const { job, title } = this.#benchmark;
    const fail: Fail = (why) => {
      throw new WrongResult(`${contestant.name}, ${title}: ${why}`);
    };
    if (result.exitCode !== 0) fail(`ended with ${result.exitCode}: ${result.stderr.trim()}`);
    if (contestant.kind === "runtime") return;
    switch (job.kind) {
      case "start":
        if (!/\d+\.\d+/.test(result.stdout)) fail(`said '${result.stdout.trim()}', which is no version`);
        return;
      case "convert":
        // A copy is a raw disk, whatever the others make of it.
        return await this.#verifyOutput(
          contestant.kind === "copy" ? { ...job, to: "raw" } : job,
          output,
          fail,
        );
      case "compare":
        if (result.stdout.trim() !== "Images are identical.") fail(`answered '${result.stdout.trim()}'`);
        return;
      default:
        await this.#verifyAnswer(job, result, fail);
    }
  }

  async #verifyOutput(job: ConvertJob, output: string, fail: Fail): Promise<void> {
    const { content } = INPUTS[job.source];
    if (content === undefined) return fail("nobody knows what the output should be");
    const { exitCode, stdout, stderr } = await this.#ask([
      ...["compare", "-f", "raw", "-F", job.to],
      ...[this.#inputs[content], output],
    ]);
    if (exitCode !== 0) fail(`the output is not what was read: ${stdout}${stderr}`);
    if (job.to === "qcow2") await this.#verifyImage(output, job.compression, fail);
  }

  async #verifyImage(output: string, compression: Compression | undefined, fail: Fail): Promise<void> {
    const { exitCode, stdout, stderr } = await this.#ask(["check", "--output=json", "-f", "qcow2", output]);
    if (exitCode !== 0) fail(`check finds errors: ${stdout}${stderr}`);
    const compressed = Number(parseRecord(stdout)["compressed-clusters"] ?? 0);
    // Not compressing would be fast.
    if (compression === undefined && compressed > 0) fail("the output is compressed");
    if (compression === undefined) return;
    if (compressed === 0) fail("the output is not compressed");
    const info = await this.#ask(["info", "--output=json", "-f", "qcow2", output]);
    const type = /"compression-type": "(\w+)"/.exec(info.stdout)?.[1];
    const wanted = compression === "deflate" ? "zlib" : compression;
    if (type !== wanted) fail(`the output is compressed with ${type}, not ${wanted}`);
  }

  async #verifyAnswer(job: AnswerJob, result: Answer, fail: Fail): Promise<void> {
    this.#answer ??= this.#ask(imageWords(job, { inputs: this.#inputs, output: "" }));
    const theirs = await this.#answer;
    if (!isDeepStrictEqual(whatCounts(job, result.stdout), whatCounts(job, theirs.stdout))) {
      fail(`answers otherwise than ${this.#tool.name}`);
    }
  }

  async #ask(args: readonly string[]): Promise<Answer> {
    const [program, ...fixed] = this.#tool.command;
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
}

type Fail = (why: string) => never;

/** What of an answer must equal the judge's, in every release; the whole text is the conformance suite's matter. */
function whatCounts({ kind }: AnswerJob, answer: string): unknown {
  const pick = (record: Record<string, unknown>): unknown => ANSWER_KEYS[kind].map((key) => record[key]);
  if (kind !== "map") return pick(parseRecord(answer));
  const extents: unknown = JSON.parse(answer);
  return Array.isArray(extents) ? extents.map(pick) : extents;
}

const ANSWER_KEYS: Readonly<Record<AnswerJob["kind"], readonly string[]>> = {
  check: ["image-end-offset", "total-clusters", "allocated-clusters", "check-errors", "leaks", "corruptions"],
  map: ["start", "length", "depth", "zero", "data", "offset"],
  info: ["virtual-size", "format", "cluster-size", "actual-size"],
};

function parseRecord(text: string): Record<string, unknown> {
  const value: unknown = JSON.parse(text);
  if (typeof value !== "object" || value === null) throw new Error(`not a JSON object: ${text.slice(0, 80)}`);
  return { ...value };
}
