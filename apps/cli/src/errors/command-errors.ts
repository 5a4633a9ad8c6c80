/** The two ways in which a command ends with a message of its own. Everything else is a bug and shows its stack. */

/** The command was understood, and cannot be done. One line on stderr. */
export class CommandError extends Error {
  override readonly name: string = "CommandError";
  readonly exitCode: number;
  /** A second line, which says what the refusal spares. */
  readonly warning: string | undefined;

  constructor(
    message: string,
    options: { readonly exitCode?: number; readonly cause?: unknown; readonly warning?: string } = {},
  ) {
    super(message, { cause: options.cause });
    this.exitCode = options.exitCode ?? 1;
    this.warning = options.warning;
  }
}

/** The command line is wrong: the message is followed by a pointer to the help. Exit code 1, as in qemu-img. */
export class UsageError extends CommandError {
  override readonly name: string = "UsageError";
}
