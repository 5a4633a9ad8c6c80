/** Runs one line of commands for `io`. */
import { CommandError } from "../errors/command-errors.ts";
import { findCommand } from "./command-table.ts";
import { type IoCommand, type IoOutcome, usageLine } from "./io-command.ts";
import { MisusedCommand, Refusal } from "./refusal.ts";
import type { IoSession } from "./session.ts";
import { splitWords } from "./split-words.ts";

/** What is wrong is printed, and is no reason to stop. */
export async function runLine(line: string, session: IoSession): Promise<IoOutcome> {
  const words = splitWords(line);
  const [name] = words;
  if (name === undefined) return "done";
  const command = findCommand(name);
  try {
    if (command === undefined) throw new Refusal(`command "${name}" not found`, "stderr");
    checkUse(command, words, session);
    const { run } = await command.load();
    return await run(words, session);
  } catch (error) {
    if (error instanceof Refusal) await session.complain(error);
    else if (error instanceof MisusedCommand && command !== undefined) {
      if (error.message !== "") session.context.report(error.message);
      await session.print(`${usageLine(command)}\n`);
    } else if (error instanceof CommandError) session.context.warn(error.message);
    else throw error;
    return "failed";
  }
}

function checkUse(command: IoCommand, words: readonly string[], session: IoSession): void {
  const image = command.needsNoImage ? undefined : session.image;
  const { minimum, maximum } = command.wordCount;
  const given = words.length - 1;
  if (given < minimum || (maximum !== undefined && given > maximum)) {
    throw new Refusal(`bad argument count ${given} to ${words[0]}, expected ${expected(command)}`, "stderr");
  }
  if (command.changesImage && image?.readOnly) throw new Refusal("Block node is read-only", "named");
}

function expected({ wordCount: { minimum, maximum } }: IoCommand): string {
  if (maximum === undefined) return `at least ${minimum} arguments`;
  return minimum === maximum ? `${minimum} arguments` : `between ${minimum} and ${maximum} arguments`;
}
