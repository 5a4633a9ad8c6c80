import type { Command, CommandContext } from "../command.ts";
import { COMMANDS, findCommand } from "../commands.ts";
import { UsageError } from "../errors/command-errors.ts";
import type { OptionSpec, ParsedArguments } from "../options/getopt.ts";
import { commandHelp, programHelp } from "../output/help-text.ts";
import { ownVersion } from "../output/version-text.ts";

const OPTIONS: Readonly<Record<"man", OptionSpec>> = {
  man: { long: "man", help: "print the manual page of all commands, for 'man -l -'" },
};

export const helpCommand: Command<typeof OPTIONS> = {
  options: OPTIONS,
  operandWords: Object.keys(COMMANDS),
  help: {
    usage: ["[COMMAND]", "--man"],
    description: `Explains a command, as 'qcow2 COMMAND --help' does, or lists all commands.`,
    examples: ["convert", "--man | man -l -"],
    exitCodes: [
      [0, "help was printed"],
      [1, "there is no such command"],
    ],
  },
  run: runHelp,
};

async function runHelp(
  args: ParsedArguments<typeof OPTIONS>,
  { out, program }: CommandContext,
): Promise<number> {
  const [name, ...rest] = args.operands;
  if (rest.length > 0) throw new UsageError("Expecting the name of one command");
  if (args.has("man")) {
    if (name !== undefined) throw new UsageError("--man is the manual page of all commands");
    await out.print(await manual());
    return 0;
  }
  if (name === undefined) {
    await out.print(programHelp(program));
    return 0;
  }
  const entry = findCommand(name);
  if (entry === undefined) throw new UsageError(`Command not found: ${name}`);
  await out.print(commandHelp(`${program} ${name}`, await entry.load()));
  return 0;
}

async function manual(): Promise<string> {
  const { describeCommands } = await import("../completion/described-command.ts");
  const { manualPage } = await import("../manual/manual-page.ts");
  return manualPage(await describeCommands(), ownVersion());
}
