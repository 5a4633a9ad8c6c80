/** aio_read, aio_write, aio_discard, aio_flush: requests that run beside the commands that follow */
import type { OptionSpec } from "../../options/getopt.ts";
import type { IoImplementation, IoOutcome } from "../io-command.ts";
import { parseBufferLengths, parseBytes, parsePattern, parseWords } from "../parse-words.ts";
import { MisusedCommand, Refusal } from "../refusal.ts";
import type { IoSession } from "../session.ts";
import { outputOf, read } from "./read.ts";
import { change, filled, printed } from "./write.ts";

const COMMON_OPTIONS: Readonly<Record<"machine" | "quiet", OptionSpec>> = {
  machine: { short: "C", help: "print the result as values separated by commas" },
  quiet: { short: "q", help: "print no result" },
};

const READ_OPTIONS: Readonly<
  Record<keyof typeof COMMON_OPTIONS | "invalid" | "pattern" | "registered" | "dump", OptionSpec>
> = {
  ...COMMON_OPTIONS,
  invalid: { short: "i", help: "count the request as an invalid one: nothing is read" },
  pattern: { short: "P", value: "BYTE", help: "say if a byte read is not this one" },
  registered: { short: "r", help: "accepted for scripts" },
  dump: { short: "v", help: "print what was read" },
};

const WRITE_OPTIONS: Readonly<
  Record<
    keyof typeof COMMON_OPTIONS | "durable" | "invalid" | "pattern" | "registered" | "unmap" | "zeroes",
    OptionSpec
  >
> = {
  ...COMMON_OPTIONS,
  durable: { short: "f", help: "what is written is durable when the request ends" },
  invalid: { short: "i", help: "count the request as an invalid one: nothing is written" },
  pattern: { short: "P", value: "BYTE", help: "the byte to write; default 0xcd" },
  registered: { short: "r", help: "accepted for scripts" },
  unmap: { short: "u", help: "with -z: give up the space" },
  zeroes: { short: "z", help: "make the range read as zeroes" },
};

export const aioReadCommand: IoImplementation = {
  options: READ_OPTIONS,
  notes: `Begins to read and goes on with the next command; the result is printed when the read ends. aio_flush waits
for it. That it fails, or that the pattern is another one, is printed, too, but is no failure of the command.`,
  run: runAioRead,
};

async function runAioRead(words: readonly string[], session: IoSession): Promise<IoOutcome> {
  const args = parseWords(words, READ_OPTIONS);
  const pattern = parsePattern(args.value("pattern"));
  if (args.has("invalid")) {
    await session.print("injecting invalid read request\n");
    return "done";
  }
  const [offsetText, ...lengths] = args.operands;
  if (offsetText === undefined || lengths.length === 0) throw new MisusedCommand();
  const offset = parseBytes(offsetText);
  const length = parseBufferLengths(lengths);
  const verification = { pattern, start: 0, length };
  session.inBackground(async () => {
    await read(session, { what: "readv", offset, length, verification, ...outputOf(args) });
  });
  return "done";
}

export const aioWriteCommand: IoImplementation = {
  options: WRITE_OPTIONS,
  notes: `Begins to write and goes on with the next command; the result is printed when the write ends. aio_flush waits
for it. That it fails is printed, too, but is no failure of the command.`,
  run: runAioWrite,
};

async function runAioWrite(words: readonly string[], session: IoSession): Promise<IoOutcome> {
  const args = parseWords(words, WRITE_OPTIONS);
  const pattern = parsePattern(args.value("pattern"));
  const [offsetText, ...lengths] = args.operands;
  if (offsetText === undefined || lengths.length === 0) throw new MisusedCommand();
  const zeroes = args.has("zeroes");
  if (zeroes && lengths.length > 1) throw new Refusal("-z supports only a single length parameter");
  if (args.has("unmap") && !zeroes) throw new Refusal("-u requires -z to be specified");
  if (zeroes && args.has("registered")) {
    throw new Refusal("cannot combine zero write with registered I/O buffer");
  }
  if (args.has("invalid")) {
    await session.print("injecting invalid write request\n");
    return "done";
  }
  const offset = parseBytes(offsetText);
  const length = zeroes ? parseBytes(lengths[0] as string) : parseBufferLengths(lengths);
  const [durable, unmap] = [args.has("durable"), args.has("unmap")];
  const { image } = session;
  session.inBackground(async () => {
    await change(
      session,
      { what: "aio_write", done: "wrote", offset, length, ...printed(args) },
      async () => {
        image.assertRange(offset, length);
        if (zeroes) await image.writeZeroes({ offset, length, unmap, durable });
        else await image.write(offset, filled(length, pattern), durable);
      },
    );
  });
  return "done";
}

export const aioDiscardCommand: IoImplementation = {
  options: COMMON_OPTIONS,
  notes: "Begins to discard and goes on with the next command; aio_flush waits for it.",
  run: runAioDiscard,
};

async function runAioDiscard(words: readonly string[], session: IoSession): Promise<IoOutcome> {
  const args = parseWords(words, COMMON_OPTIONS);
  const [offsetText, lengthText, ...rest] = args.operands;
  if (offsetText === undefined || lengthText === undefined || rest.length > 0) throw new MisusedCommand();
  const offset = parseBytes(offsetText);
  const length = parseBytes(lengthText);
  const { image } = session;
  session.inBackground(async () => {
    // qemu-io has a space too many here, and scripts compare its output.
    await change(session, { what: "aio_discard", done: "discarded ", offset, length, ...printed(args) }, () =>
      image.discard(offset, length),
    );
  });
  return "done";
}

export const aioFlushCommand: IoImplementation = { run: runAioFlush };

async function runAioFlush(_words: readonly string[], session: IoSession): Promise<IoOutcome> {
  await session.drain();
  return "done";
}
