/** The two ways in which a command ends with a message of its own. Everything else is a bug and shows its stack. */

/** The command was understood, and cannot be done. One line on stderr. */
export class CommandError extends Error {
  override readonly name: string = "CommandError";
  readonly exitCode: number;

  constructor(message: string, options: { readonly exitCode?: number; readonly cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.exitCode = options.exitCode ?? 1;
  }
}

/** The command line is wrong: the message is followed by a pointer to the help. Exit code 1, as in qemu-img. */
export class UsageError extends CommandError {
  override readonly name: string = "UsageError";
}
