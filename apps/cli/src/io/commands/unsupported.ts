/** What qemu-io has for test devices that are not here: it answers as qemu-io does on a plain image. */

import { errnoText } from "../../errors/errno-text.ts";
import { findCommand } from "../command-table.ts";
import type { IoImplementation, IoOutcome } from "../io-command.ts";
import { Refusal, RequestError } from "../refusal.ts";

const BREAKPOINTS = "Breakpoints need QEMU's driver blkdebug, which is not supported";

export const breakCommand: IoImplementation = { run: runBreak };

async function runBreak(): Promise<IoOutcome> {
  throw unsupported("Could not set breakpoint", BREAKPOINTS);
}

export const removeBreakCommand: IoImplementation = { run: runRemoveBreak };

async function runRemoveBreak(words: readonly string[]): Promise<IoOutcome> {
  throw unsupported(`Could not remove breakpoint ${words[1]}`, BREAKPOINTS);
}

export const resumeCommand: IoImplementation = { run: runResume };

async function runResume(): Promise<IoOutcome> {
  throw unsupported("Could not resume request", BREAKPOINTS);
}

export const waitBreakCommand: IoImplementation = { run: runWaitBreak };

/** qemu-io waits for ever for what cannot come. */
async function runWaitBreak(): Promise<IoOutcome> {
  throw unsupported("Could not wait for breakpoint", BREAKPOINTS);
}

export const zoneCommand: IoImplementation = { run: runZoneCommand };

async function runZoneCommand(words: readonly string[]): Promise<IoOutcome> {
  const command = findCommand(words[0] as string);
  throw unsupported(`${command?.name.replace("_", " ")} failed`, "Zoned devices are not supported");
}

function unsupported(what: string, why: string): Refusal {
  return new Refusal(`${what}: ${errnoText("ENOTSUP")}`, "result", {
    cause: new RequestError("ENOTSUP", why),
  });
}
