import { readFile } from "node:fs/promises";
import type { Writable } from "node:stream";
import type { Command, CommandContext } from "./command.ts";
import { COMMANDS } from "./commands.ts";
import { CommandError, UsageError } from "./errors/command-errors.ts";
import { describeError, oneLine } from "./errors/describe-error.ts";
import { getopt } from "./options/getopt.ts";
import { Printer } from "./output/printer.ts";
import { terminalOf } from "./output/terminal.ts";
import { type ProgramName, programName } from "./program.ts";

export interface Streams {
  readonly stdout: Writable;
  readonly stderr: Writable;
}

/** Runs one command line and returns the exit code. `argv` is as in `process.argv`. */
export async function run(argv: readonly string[], streams: Streams = process): Promise<number> {
  const program = programName(argv[1]);
  const { stdout, stderr } = streams;
  const out = new Printer(stdout);
  const warn = (message: string): void => {
    stderr.write(`${program}: ${oneLine(message)}\n`);
  };
  const report = (message: string): void => {
    stderr.write(`${oneLine(message)}\n`);
  };
  let helpHint = `${program} --help`;
  try {
    const [name, ...rest] = argv.slice(2);
    const entry = name === undefined ? undefined : COMMANDS[name];
    if (name === undefined || entry === undefined) {
      return await runWithoutCommand(program, name, out);
    }
    helpHint = `${program} ${name} --help`;
    const terminal = terminalOf(stdout, program);
    return await runCommand(name, await entry.load(), rest, { program, out, terminal, warn, report });
  } catch (error) {
    await out.flush();
    const message = describeError(error);
    if (message === undefined) {
      stderr.write(`${program}: internal error: ${error instanceof Error ? error.stack : String(error)}\n`);
      return 1;
    }
    stderr.write(`${program}: ${message}\n`);
    if (error instanceof UsageError) stderr.write(`Try '${helpHint}' for more information.\n`);
    return error instanceof CommandError ? error.exitCode : 1;
  } finally {
    await out.flush();
  }
}

async function runCommand(
  name: string,
  command: Command,
  argv: readonly string[],
  context: CommandContext,
): Promise<number> {
  const scanned = getopt(argv, command.options, { lastIsOperand: command.lastIsOperand ?? false });
  if (scanned.kind === "arguments") return await command.run(scanned.parsed, context);
  const { commandHelp } = await import("./output/help-text.ts");
  await context.out.print(commandHelp(context.program, name, command));
  return 0;
}

async function runWithoutCommand(
  program: ProgramName,
  name: string | undefined,
  out: Printer,
): Promise<number> {
  if (name === undefined) throw new UsageError("Not enough arguments");
  if (name === "help" || name === "-h" || isAbbreviation(name, "--help")) {
    const { programHelp } = await import("./output/help-text.ts");
    await out.print(programHelp(program));
    return 0;
  }
  if (name === "-V" || isAbbreviation(name, "--version")) {
    await out.print(await versionText(program));
    return 0;
  }
  if (name === "-T" || name.startsWith("--trace")) throw new CommandError("Tracing is not supported");
  if (name.startsWith("-")) throw new UsageError(`unrecognized option '${name}'`);
  throw new UsageError(`Command not found: ${name}`);
}

function isAbbreviation(argument: string, option: string): boolean {
  return argument.length > 2 && option.startsWith(argument);
}

/** The QEMU release whose options and output this command follows; what scripts that parse the version look for. */
const FOLLOWED_QEMU_VERSION = "10.0.0";

async function versionText(program: ProgramName): Promise<string> {
  const manifest: { version: string } = JSON.parse(
    await readFile(new URL("../package.json", import.meta.url), "utf8"),
  );
  if (program === "qemu-img")
    return `qemu-img version ${FOLLOWED_QEMU_VERSION} (qcow2 ${manifest.version})\n`;
  return `qcow2 version ${manifest.version} (compatible with qemu-img ${FOLLOWED_QEMU_VERSION})\n`;
}
