/** read, readv */
import type { OptionSpec } from "../../options/getopt.ts";
import { hexdump } from "../hexdump.ts";
import type { IoImplementation, IoOutcome } from "../io-command.ts";
import {
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

const VECTOR_OPTIONS: Readonly<Record<"machine" | "pattern" | "quiet" | "registered" | "dump", OptionSpec>> =
  {
    machine: { short: "C", help: "print the result as values separated by commas" },
    pattern: { short: "P", value: "BYTE", help: "fail unless every byte read is this one" },
    quiet: { short: "q", help: "print no result" },
    registered: { short: "r", help: "accepted for scripts" },
    dump: { short: "v", help: "print what was read" },
  };

const OPTIONS: Readonly<
  Record<keyof typeof VECTOR_OPTIONS | "vmState" | "ignored" | "from" | "length", OptionSpec>
> = {
  ...VECTOR_OPTIONS,
  vmState: { short: "b", help: "refused: VM state cannot be read here" },
  ignored: { short: "p", help: "accepted for scripts" },
  from: { short: "s", value: "OFFSET", help: "with -P: compare from this byte of what is read" },
  length: { short: "l", value: "LENGTH", help: "with -P: compare so many bytes" },
};

export const readCommand: IoImplementation = {
  options: OPTIONS,
  notes:
    "Reads length bytes from offset and prints how long it took. With -P, the command fails if a byte is another one.",
  run: runRead,
};

async function runRead(words: readonly string[], session: IoSession): Promise<IoOutcome> {
  const args = parseWords(words, OPTIONS);
  const pattern = parsePattern(args.value("pattern"));
  const [from, compared] = (["from", "length"] as const).map((name) => {
    const text = args.value(name);
    return text === undefined ? undefined : parseBytes(text);
  });
  if (pattern === undefined && (from !== undefined || compared !== undefined)) throw new MisusedCommand();
  const [offsetText, lengthText, ...rest] = args.operands;
  if (offsetText === undefined || lengthText === undefined || rest.length > 0) throw new MisusedCommand();
  const offset = parseBytes(offsetText);
  const length = parseRequestLength(lengthText);
  const start = from ?? 0;
  const verification = { pattern, start, length: compared ?? length - start };
  if (verification.length < 0 || start + verification.length > length) {
    throw new Refusal("pattern verification range exceeds end of read data");
  }
  if (args.has("vmState")) refuseVmState(words, { offset, count: length });
  return await read(session, { what: "read", offset, length, verification, ...outputOf(args) });
}

export const readvCommand: IoImplementation = {
  options: VECTOR_OPTIONS,
  notes: "As read, with the length given in parts.",
  run: runReadv,
};

async function runReadv(words: readonly string[], session: IoSession): Promise<IoOutcome> {
  const args = parseWords(words, VECTOR_OPTIONS);
  const pattern = parsePattern(args.value("pattern"));
  const [offsetText, ...lengths] = args.operands;
  if (offsetText === undefined || lengths.length === 0) throw new MisusedCommand();
  const offset = parseBytes(offsetText);
  const length = parseBufferLengths(lengths);
  const verification = { pattern, start: 0, length };
  return await read(session, { what: "readv", offset, length, verification, ...outputOf(args) });
}

/** What to print of a read. */
export interface ReadOutput {
  readonly quiet: boolean;
  readonly machineReadable: boolean;
  readonly dump: boolean;
}

export function outputOf(args: { has(name: "quiet" | "machine" | "dump"): boolean }): ReadOutput {
  return { quiet: args.has("quiet"), machineReadable: args.has("machine"), dump: args.has("dump") };
}

export interface ReadRequest extends ReadOutput {
  /** How a failure calls it. */
  readonly what: string;
  readonly offset: number;
  readonly length: number;
  /** Of the bytes read, `length` from `start` on have to be `pattern`, if there is one. */
  readonly verification: {
    readonly pattern: number | undefined;
    readonly start: number;
    readonly length: number;
  };
}

/** Reads, compares and prints. @throws Refusal */
export async function read(session: IoSession, request: ReadRequest): Promise<IoOutcome> {
  const { what, offset, length, verification, quiet, dump, machineReadable } = request;
  const started = process.hrtime.bigint();
  let bytes: Uint8Array;
  try {
    bytes = await session.image.read(offset, length);
  } catch (error) {
    throw failed(what, error);
  }
  const seconds = secondsSince(started);
  const { pattern, start } = verification;
  const matches =
    pattern === undefined || consistsOf(bytes.subarray(start, start + verification.length), pattern);
  if (!matches) {
    await session.print(
      `Pattern verification failed at offset ${offset + start}, ${verification.length} bytes\n`,
    );
  }
  if (!quiet) {
    if (dump) for (const text of hexdump(bytes, offset)) await session.print(text);
    await session.print(requestReport({ what: "read", offset, length, seconds, machineReadable }));
  }
  return matches ? "done" : "failed";
}

/** Bytes that are compared at a time. */
const COMPARED_BYTES = 65536;

/** True if all bytes are `pattern`. Compared natively, in pieces: a loop over single bytes is ten times slower. */
function consistsOf(bytes: Uint8Array, pattern: number): boolean {
  const expected = Buffer.alloc(Math.min(COMPARED_BYTES, bytes.length), pattern);
  for (let at = 0; at < bytes.length; at += COMPARED_BYTES) {
    const piece = bytes.subarray(at, at + COMPARED_BYTES);
    if (Buffer.compare(piece, expected.subarray(0, piece.length)) !== 0) return false;
  }
  return true;
}
