import type { Command, CommandContext } from "../command.ts";
import { COMMANDS, findCommand } from "../commands.ts";
import { UsageError } from "../errors/command-errors.ts";
import type { OptionTable, ParsedArguments } from "../options/getopt.ts";
import { commandHelp, programHelp } from "../output/help-text.ts";

export const helpCommand: Command = {
  options: {},
  operandWords: Object.keys(COMMANDS),
  help: {
    usage: ["[COMMAND]"],
    description: `Explains a command, as 'qcow2 COMMAND --help' does, or lists all commands.`,
    examples: ["", "convert"],
    exitCodes: [
      [0, "help was printed"],
      [1, "there is no such command"],
    ],
  },
  run: runHelp,
};

async function runHelp(
  args: ParsedArguments<OptionTable>,
  { out, program }: CommandContext,
): Promise<number> {
  const [name, ...rest] = args.operands;
  if (rest.length > 0) throw new UsageError("Expecting the name of one command");
  if (name === undefined) {
    await out.print(programHelp(program));
    return 0;
  }
  const entry = findCommand(name);
  if (entry === undefined) throw new UsageError(`Command not found: ${name}`);
  await out.print(commandHelp(`${program} ${name}`, await entry.load()));
  return 0;
}
