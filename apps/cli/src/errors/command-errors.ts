/** The ways in which a command ends with a message of its own. Everything else is a bug and shows its stack. */

export interface CommandErrorOptions {
  /** Default 1. */
  readonly exitCode?: number;
  readonly cause?: unknown;
  /** Lines that follow the message, without the program's name: what can be done about it. */
  readonly hints?: readonly string[];
  /** A line with the program's name, which says what the refusal spares. */
  readonly warning?: string;
}

/** The command was understood, and cannot be done. One line on stderr, and the hints. */
export class CommandError extends Error {
  override readonly name: string = "CommandError";
  readonly exitCode: number;
  readonly hints: readonly string[];
  readonly warning: string | undefined;

  constructor(message: string, { exitCode = 1, cause, hints = [], warning }: CommandErrorOptions = {}) {
    super(message, { cause });
    this.exitCode = exitCode;
    this.hints = hints;
    this.warning = warning;
  }
}

/** The command line is wrong: the message is followed by a pointer to the help. Exit code 1, as in qemu-img. */
export class UsageError extends CommandError {
  override readonly name: string = "UsageError";
}

/** An option is wrong by itself; the message has the command's name in front, as getopt_long puts it. */
export class OptionError extends UsageError {
  override readonly name: string = "OptionError";
}
