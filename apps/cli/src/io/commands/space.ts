/** discard, truncate, flush */
import type { Preallocation } from "@qcow2/core";
import { describeError } from "../../errors/describe-error.ts";
import type { OptionSpec } from "../../options/getopt.ts";
import type { IoImplementation, IoOutcome } from "../io-command.ts";
import { parseBytes, parseRequestLength, parseWords } from "../parse-words.ts";
import { failed, MisusedCommand, Refusal } from "../refusal.ts";
import type { IoSession } from "../session.ts";
import { change, printed } from "./write.ts";

const DISCARD_OPTIONS: Readonly<Record<"machine" | "quiet", OptionSpec>> = {
  machine: { short: "C", help: "print the result as values separated by commas" },
  quiet: { short: "q", help: "print no result" },
};

const TRUNCATE_OPTIONS: Readonly<Record<"preallocation", OptionSpec>> = {
  preallocation: { short: "m", value: "MODE", help: "off, metadata, falloc or full" },
};

const PREALLOCATIONS: readonly Preallocation[] = ["off", "metadata", "falloc", "full"];

export const discardCommand: IoImplementation = {
  options: DISCARD_OPTIONS,
  notes: `The whole clusters within the range read as zeroes afterwards, and their space is given back to the host.
Nothing happens to the rest of the range, nor to an image that was opened with -d ignore.`,
  run: runDiscard,
};

async function runDiscard(words: readonly string[], session: IoSession): Promise<IoOutcome> {
  const args = parseWords(words, DISCARD_OPTIONS);
  const [offsetText, lengthText, ...rest] = args.operands;
  if (offsetText === undefined || lengthText === undefined || rest.length > 0) throw new MisusedCommand();
  const offset = parseBytes(offsetText);
  const length = parseRequestLength(lengthText);
  return await change(session, { what: "discard", done: "discard", offset, length, ...printed(args) }, () =>
    session.image.discard(offset, length),
  );
}

export const truncateCommand: IoImplementation = {
  options: TRUNCATE_OPTIONS,
  notes: "What is added reads as zeroes; what lies behind a smaller size is lost.",
  run: runTruncate,
};

async function runTruncate(words: readonly string[], session: IoSession): Promise<IoOutcome> {
  const args = parseWords(words, TRUNCATE_OPTIONS);
  const mode = args.value("preallocation") ?? "off";
  const preallocation = PREALLOCATIONS.find((candidate) => candidate === mode);
  if (preallocation === undefined) throw new Refusal(`Invalid preallocation mode '${mode}'`, "named");
  // With the option alone there is no size, and qemu-io complains about the first word.
  const bytes = parseBytes(args.operands[0] ?? (words[1] as string));
  try {
    await session.image.truncate(bytes, preallocation);
  } catch (error) {
    const reason = describeError(error);
    throw reason === undefined ? error : new Refusal(reason, "named", { cause: error });
  }
  return "done";
}

export const flushCommand: IoImplementation = { run: runFlush };

async function runFlush(_words: readonly string[], session: IoSession): Promise<IoOutcome> {
  try {
    await session.image.flush();
  } catch (error) {
    throw failed("flush", error);
  }
  return "done";
}
