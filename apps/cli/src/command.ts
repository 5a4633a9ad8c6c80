/** What a command is, and what it gets from whoever runs it. */
import type { Readable, Writable } from "node:stream";
import type { Secrets } from "./objects/secret.ts";
import type { OptionTable, ParsedArguments } from "./options/getopt.ts";
import type { Printer } from "./output/printer.ts";
import type { Terminal } from "./output/terminal.ts";
import type { ProgramName } from "./program.ts";

export interface CommandContext {
  readonly program: ProgramName;
  /** How the command was called: `qcow2 io`, or `qemu-io`. */
  readonly invocation: string;
  readonly stdin: Readable;
  readonly out: Printer;
  /** What `out` leads to, if that is a terminal and output may be made for it; undefined for the plain text. */
  readonly terminal: Terminal | undefined;
  /** What `out` prints to: for progress, which does not wait in a buffer. */
  readonly stdout: Writable;
  /** One line on stderr, with the program's name in front. */
  warn(message: string): void;
  /** One line on stderr as it is: results that are not the command's output, such as each finding of a check. */
  report(message: string): void;
  /** What `--object` defines, by id. */
  readonly secrets: Secrets;
}

export interface CommandHelp {
  /** What follows `qcow2 NAME`; one element a line. */
  readonly usage: readonly string[];
  /** Paragraphs, already broken into lines. */
  readonly description: string;
  /** What the operands and the less obvious values mean. */
  readonly notes?: string;
  readonly examples: readonly string[];
  readonly exitCodes: readonly (readonly [code: number, meaning: string])[];
}

export interface Command<Table extends OptionTable = OptionTable> {
  readonly options: Table;
  readonly help: CommandHelp;
  /** The last word is an operand even if it begins with a dash, as a negative size does. */
  readonly lastIsOperand?: boolean;
  /** What operands can be, for completion; a word that ends in "=" is followed by a file name. Default: file names. */
  readonly operandWords?: readonly string[];
  /** Returns the exit code; failures are thrown. */
  run(args: ParsedArguments<Table>, context: CommandContext): Promise<number>;
}
