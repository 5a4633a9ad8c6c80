import { execa } from "execa";

export interface ToolResult {
  /** 128 + the signal's number is never used: a tool that is killed or does not end in time throws instead. */
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd?: string | undefined;
  /** Default 120 s; a tool that takes longer is killed, and that is an error. */
  readonly timeoutMs?: number;
  readonly env?: Readonly<Record<string, string>>;
  /** What the tool reads from standard input; default: nothing. */
  readonly input?: string | undefined;
}

/** Runs a program with an argument array, never through a shell, and answers whatever exit code it had. */
export async function runTool(
  command: readonly [string, ...string[]],
  args: readonly string[],
  options: RunOptions = {},
): Promise<ToolResult> {
  const [file, ...fixed] = command;
  const result = await execa(file, [...fixed, ...args], {
    reject: false,
    ...(options.input === undefined ? { stdin: "ignore" } : { input: options.input }),
    stripFinalNewline: false,
    timeout: options.timeoutMs ?? 120_000,
    maxBuffer: 256 * 2 ** 20,
    env: { LC_ALL: "C", TZ: "UTC", ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  if (result.exitCode === undefined) {
    throw new Error(
      `${result.escapedCommand} did not end by itself: ${result.shortMessage}\n${result.stderr}`,
    );
  }
  return { exitCode: result.exitCode, stdout: result.stdout, stderr: result.stderr };
}

/** Throws unless the tool succeeded; the error says how it was called and what it said. */
export function expectSuccess(what: string, result: ToolResult): ToolResult {
  if (result.exitCode === 0) return result;
  throw new Error(`${what} ended with ${result.exitCode}: ${result.stderr}${result.stdout}`);
}
