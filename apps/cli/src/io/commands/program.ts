/** help, quit, sleep, sigraise, abort: commands about the program itself */
import { constants } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { findCommand, IO_COMMANDS } from "../command-table.ts";
import { type IoImplementation, type IoOutcome, usageLine } from "../io-command.ts";
import { parseBytes, parseInteger } from "../parse-words.ts";
import { Refusal } from "../refusal.ts";
import type { IoSession } from "../session.ts";

const HELP_COLUMN = 14;

export const helpCommand: IoImplementation = { run: runHelp };

async function runHelp(words: readonly string[], session: IoSession): Promise<IoOutcome> {
  const [, name] = words;
  if (name === undefined) {
    const lines = IO_COMMANDS.map((command) => `${usageLine(command)}\n`);
    await session.print(`${lines.join("")}\nUse 'help commandname' for extended help.\n`);
    return "done";
  }
  const command = findCommand(name);
  if (command === undefined) throw new Refusal(`command ${name} not found`);
  const { options = {}, notes } = await command.load();
  const lines = Object.values(options).map(
    ({ short, value, help }) => `  ${`-${short} ${value ?? ""}`.padEnd(HELP_COLUMN)}${help}`,
  );
  const paragraphs = [usageLine(command), notes, lines.join("\n")].filter(Boolean);
  await session.print(`${paragraphs.join("\n\n")}\n`);
  return "done";
}

export const quitCommand: IoImplementation = { notes: "The image is closed first.", run: runQuit };

async function runQuit(): Promise<IoOutcome> {
  return "quit";
}

export const sleepCommand: IoImplementation = { run: runSleep };

async function runSleep(words: readonly string[]): Promise<IoOutcome> {
  const text = words[1] as string;
  const milliseconds = parseInteger(text);
  if (milliseconds === undefined || milliseconds < 0) throw new Refusal(`${text} is not a valid number`);
  await sleep(milliseconds);
  return "done";
}

export const sigraiseCommand: IoImplementation = {
  notes: "Nothing that waits to be written is written: see what a crash leaves.",
  run: runSigraise,
};

/** Ends the program as a crash would: nothing that waits to be written is. */
async function runSigraise(words: readonly string[], session: IoSession): Promise<IoOutcome> {
  const text = words[1] as string;
  const signal = parseBytes(text);
  if (signal > Math.max(...Object.values(constants.signals))) {
    throw new Refusal(`signal argument '${text}' is too large to be a valid signal`);
  }
  await session.context.out.flush();
  process.kill(process.pid, signal);
  // Some signals are only delivered by the event loop, and 0 never is.
  await sleep(signal === 0 ? 0 : 100);
  return "done";
}

export const abortCommand: IoImplementation = {
  notes: "Nothing that waits to be written is written: see what a crash leaves.",
  run: runAbort,
};

async function runAbort(_words: readonly string[], session: IoSession): Promise<IoOutcome> {
  await session.context.out.flush();
  process.abort();
}
