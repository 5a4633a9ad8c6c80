import type { Readable, Writable } from "node:stream";
import { requireHostThreads } from "@qcow2/node";
import { wordsOf } from "./arguments.ts";
import type { Command, CommandContext } from "./command.ts";
import { findCommand } from "./commands.ts";
import { CommandError, OptionError, UsageError } from "./errors/command-errors.ts";
import { describeError, hintsOf, oneLine } from "./errors/describe-error.ts";
import type { DefinedObjects } from "./objects/define-objects.ts";
import type { Secrets } from "./objects/secret.ts";
import { getopt } from "./options/getopt.ts";
import { isPlain, Output, outputBytes } from "./output/output.ts";
import { isTaken, STDERR, STDOUT } from "./output/own-descriptors.ts";
import { Printer } from "./output/printer.ts";
import { terminalOf } from "./output/terminal.ts";
import { type ProgramName, programName } from "./program.ts";

export interface Streams {
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** Only for commands that are told what to do while they run. Default: the process's own. */
  readonly stdin?: Readable;
}

/** For this repository's own tests, which ask what options there are. */
export { COMMANDS } from "./commands.ts";
export { exit } from "./exit.ts";

/**
 * Runs one command line and returns the exit code. `argv` is as in `process.argv`. A process makes its streams when they
 * are first asked for, which takes its time: nobody asks here without need.
 */
export async function run(argv: readonly string[], streams: Streams = process): Promise<number> {
  const program = programName(argv[1]);
  const descriptor = streams === process && isPlain(STDOUT) ? STDOUT : undefined;
  const output = new Output({ stream: () => streams.stdout, descriptor });
  const out = new Printer(output);
  const toStderr = (text: string): void => {
    if (isTaken(STDERR)) return;
    streams.stderr.write(outputBytes(text));
  };
  const report = (message: string): void => toStderr(`${oneLine(message)}\n`);
  const warn = (message: string): void => report(`${program}: ${message}`);
  let invocation: string = program;
  try {
    const given = wordsOf(argv);
    // Called by the name of QEMU's own program for it, a command needs no name.
    const words = program === "qemu-io" ? ["io", ...given] : given;
    const [name, ...rest] = words;
    const entry = name === undefined ? undefined : findCommand(name);
    if (name === undefined || entry === undefined) {
      return await runWithoutCommand(program, name, out);
    }
    if (program !== "qemu-io") invocation = `${program} ${name}`;
    const contextWith = (secrets: Secrets): CommandContext => ({
      program,
      invocation,
      out,
      secrets,
      get stdin() {
        return streams.stdin ?? process.stdin;
      },
      get stdout() {
        return output.stream;
      },
      get terminal() {
        return output.isPlain ? undefined : terminalOf(output.stream, program);
      },
      warn,
      report,
    });
    return await runCommand(await entry.load(), { argv: rest, invocation, out, contextWith });
  } catch (error) {
    await out.flush();
    const message = describeError(error);
    if (message === undefined) {
      toStderr(`${program}: internal error: ${error instanceof Error ? error.stack : String(error)}\n`);
      return 1;
    }
    toStderr(`${error instanceof OptionError ? invocation : program}: ${message}\n`);
    if (error instanceof CommandError && error.warning !== undefined) warn(`warning: ${error.warning}`);
    for (const hint of hintsOf(error)) report(hint);
    if (error instanceof UsageError) toStderr(`Try '${invocation} --help' for more info\n`);
    return error instanceof CommandError ? error.exitCode : 1;
  } finally {
    await out.flush();
  }
}

interface Invocation {
  /** What follows the command's name. */
  readonly argv: readonly string[];
  readonly invocation: string;
  readonly out: Printer;
  contextWith(secrets: Secrets): CommandContext;
}

async function runCommand(
  command: Command,
  { argv, invocation, out, contextWith }: Invocation,
): Promise<number> {
  const scanned = getopt(argv, command.options, { lastIsOperand: command.lastIsOperand ?? false });
  if (scanned.kind === "arguments") {
    const objects = await objectsOf(scanned.parsed.values("object"));
    if (objects.kind === "objects") {
      await requireHostThreads();
      return await command.run(scanned.parsed, contextWith(objects.secrets));
    }
    await out.print(objects.text);
    return 0;
  }
  const { commandHelp } = await import("./output/help-text.ts");
  await out.print(commandHelp(invocation, command));
  return 0;
}

async function objectsOf(definitions: readonly string[]): Promise<DefinedObjects> {
  if (definitions.length === 0) return { kind: "objects", secrets: new Map() };
  const { defineObjects } = await import("./objects/define-objects.ts");
  return await defineObjects(definitions);
}

async function runWithoutCommand(
  program: ProgramName,
  name: string | undefined,
  out: Printer,
): Promise<number> {
  if (name === undefined) throw new UsageError("Not enough arguments");
  if (name === "-h" || isAbbreviation(name, "--help")) {
    const { programHelp } = await import("./output/help-text.ts");
    await out.print(programHelp(program));
    return 0;
  }
  if (name === "-V" || isAbbreviation(name, "--version")) {
    const { versionText } = await import("./output/version-text.ts");
    await out.print(versionText("qemu-img"));
    return 0;
  }
  if (name === "-T" || name.startsWith("--trace")) throw new CommandError("Tracing is not supported");
  if (name.startsWith("-")) throw new UsageError(`unrecognized option '${name}'`);
  throw new UsageError(`Command not found: ${name}`);
}

function isAbbreviation(argument: string, option: string): boolean {
  return argument.length > 2 && option.startsWith(argument);
}
