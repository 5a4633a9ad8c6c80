/** write, writev */
import { open } from "node:fs/promises";
import { hostPath } from "@qcow2/node";
import { errnoText } from "../../errors/errno-text.ts";
import type { OptionSpec, ParsedArguments } from "../../options/getopt.ts";
import type { IoImplementation, IoOutcome } from "../io-command.ts";
import {
  assertWholeSectors,
  parseBufferLengths,
  parseBytes,
  parsePattern,
  parseRequestLength,
  parseWords,
  refuseVmState,
} from "../parse-words.ts";
import { failed, MisusedCommand, Refusal } from "../refusal.ts";
import { requestReport, secondsSince } from "../request-report.ts";
import type { IoSession } from "../session.ts";

/** What is written if nothing else is said. */
const DEFAULT_PATTERN = 0xcd;

const VECTOR_OPTIONS: Readonly<
  Record<"machine" | "durable" | "pattern" | "quiet" | "registered", OptionSpec>
> = {
  machine: { short: "C", help: "print the result as values separated by commas" },
  durable: { short: "f", help: "what is written is durable when the command ends" },
  pattern: { short: "P", value: "BYTE", help: "the byte to write; default 0xcd" },
  quiet: { short: "q", help: "print no result" },
  registered: { short: "r", help: "accepted for scripts" },
};

const OPTIONS: Readonly<
  Record<
    | keyof typeof VECTOR_OPTIONS
    | "vmState"
    | "compressed"
    | "noFallback"
    | "ignored"
    | "source"
    | "unmap"
    | "zeroes",
    OptionSpec
  >
> = {
  ...VECTOR_OPTIONS,
  vmState: { short: "b", help: "refused: VM state cannot be written here" },
  compressed: { short: "c", help: "write whole clusters, compressed" },
  noFallback: { short: "n", help: "with -z: fail where zeroes would be written as data" },
  ignored: { short: "p", help: "accepted for scripts" },
  source: { short: "s", value: "FILE", help: "write the content of a file, over and over" },
  unmap: { short: "u", help: "with -z: give up the space" },
  zeroes: { short: "z", help: "make the range read as zeroes" },
};

export const writeCommand: IoImplementation = {
  options: OPTIONS,
  notes: `Writes length bytes from offset on: a pattern, the content of a file, or zeroes. Compressed data (-c) is
written in whole clusters, to clusters that have no data yet.`,
  run: runWrite,
};

async function runWrite(words: readonly string[], session: IoSession): Promise<IoOutcome> {
  const args = parseWords(words, OPTIONS);
  const pattern = parsePattern(args.value("pattern"));
  const [offsetText, lengthText, ...rest] = args.operands;
  if (offsetText === undefined || lengthText === undefined || rest.length > 0) throw new MisusedCommand();
  checkCombination(args);
  const offset = parseBytes(offsetText);
  const length = args.has("noFallback")
    ? parseBytes(lengthText)
    : parseRequestLength(lengthText, " without -n");
  if (args.has("compressed")) assertWholeSectors({ offset, count: length });
  if (args.has("zeroes") && args.has("registered")) {
    throw new Refusal("cannot combine zero write with registered I/O buffer");
  }
  if (args.has("vmState")) refuseVmState(words, { offset, count: length });
  const source = args.value("source");
  const content = await contentOf({ pattern, source, length });
  const { image } = session;
  const durable = args.has("durable");
  return await change(
    session,
    { what: "write", done: "wrote", offset, length, ...printed(args) },
    async () => {
      image.assertRange(offset, length);
      if (args.has("zeroes")) {
        const [unmap, noFallback] = [args.has("unmap"), args.has("noFallback")];
        await image.writeZeroes({ offset, length, unmap, noFallback, durable });
      } else if (args.has("compressed")) await image.writeCompressed(offset, content());
      else await image.write(offset, content(), durable);
    },
  );
}

export const writevCommand: IoImplementation = {
  options: VECTOR_OPTIONS,
  notes: "As write -P, with the length given in parts.",
  run: runWritev,
};

async function runWritev(words: readonly string[], session: IoSession): Promise<IoOutcome> {
  const args = parseWords(words, VECTOR_OPTIONS);
  const pattern = parsePattern(args.value("pattern")) ?? DEFAULT_PATTERN;
  const [offsetText, ...lengths] = args.operands;
  if (offsetText === undefined || lengths.length === 0) throw new MisusedCommand();
  const offset = parseBytes(offsetText);
  const length = parseBufferLengths(lengths);
  const { image } = session;
  return await change(
    session,
    { what: "writev", done: "wrote", offset, length, ...printed(args) },
    async () => {
      image.assertRange(offset, length);
      await image.write(offset, filled(length, pattern), args.has("durable"));
    },
  );
}

export interface Change {
  /** How a failure calls it. */
  readonly what: string;
  /** How success is called. */
  readonly done: string;
  readonly offset: number;
  readonly length: number;
  readonly quiet: boolean;
  readonly machineReadable: boolean;
}

/** Changes the disk and prints how long it took. @throws Refusal */
export async function change(
  session: IoSession,
  { what, done, offset, length, quiet, machineReadable }: Change,
  work: () => Promise<void>,
): Promise<IoOutcome> {
  const started = process.hrtime.bigint();
  try {
    await work();
  } catch (error) {
    throw failed(what, error);
  }
  const seconds = secondsSince(started);
  if (!quiet) await session.print(requestReport({ what: done, offset, length, seconds, machineReadable }));
  return "done";
}

export function printed(args: { has(name: "quiet" | "machine"): boolean }): {
  readonly quiet: boolean;
  readonly machineReadable: boolean;
} {
  return { quiet: args.has("quiet"), machineReadable: args.has("machine") };
}

export function filled(length: number, pattern: number = DEFAULT_PATTERN): Uint8Array {
  return new Uint8Array(length).fill(pattern);
}

function checkCombination(args: ParsedArguments<typeof OPTIONS>): void {
  const has = (name: keyof typeof OPTIONS): boolean => args.has(name);
  if (has("vmState") && has("zeroes")) throw new Refusal("-b and -z cannot be specified at the same time");
  if (has("durable") && (has("vmState") || has("compressed"))) {
    throw new Refusal("-f and -b or -c cannot be specified at the same time");
  }
  if (has("noFallback") && !has("zeroes")) throw new Refusal("-n requires -z to be specified");
  if (has("unmap") && !has("zeroes")) throw new Refusal("-u requires -z to be specified");
  if ((["zeroes", "pattern", "source"] as const).filter(has).length > 1) {
    throw new Refusal("Only one of -z, -P, and -s can be specified at the same time");
  }
}

interface Content {
  readonly pattern: number | undefined;
  readonly source: string | undefined;
  readonly length: number;
}

/** Makes the bytes to write, when it is known that they fit. */
async function contentOf({ pattern, source, length }: Content): Promise<() => Uint8Array> {
  if (source === undefined) return () => filled(length, pattern);
  const unit = await readSource(source, length);
  return () => {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; at += unit.length) {
      bytes.set(unit.subarray(0, Math.min(unit.length, length - at)), at);
    }
    return bytes;
  };
}

/** The content of a file, or as much of it as is needed. */
async function readSource(path: string, length: number): Promise<Uint8Array> {
  try {
    await using file = await open(hostPath(path));
    const bytes = new Uint8Array(Math.min(length, (await file.stat()).size));
    const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
    if (bytesRead > 0) return bytes.subarray(0, bytesRead);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && typeof error.code === "string")) throw error;
    throw new Refusal(`${path}: ${errnoText(error.code)}`, "stderr");
  }
  throw new Refusal(`${path}: file is empty`, "stderr");
}
