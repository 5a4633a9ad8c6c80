import type { Command, CommandContext } from "../command.ts";
import { bashCompletion } from "../completion/bash.ts";
import { type DescribedCommand, describeCommands } from "../completion/described-command.ts";
import { fishCompletion } from "../completion/fish.ts";
import { zshCompletion } from "../completion/zsh.ts";
import { UsageError } from "../errors/command-errors.ts";
import type { OptionTable, ParsedArguments } from "../options/getopt.ts";

const SHELLS: Readonly<Record<string, (commands: readonly DescribedCommand[]) => string>> = {
  bash: bashCompletion,
  zsh: zshCompletion,
  fish: fishCompletion,
};

export const completionCommand: Command = {
  options: {},
  operandWords: Object.keys(SHELLS),
  help: {
    usage: ["bash|zsh|fish"],
    description: `Prints a script that teaches a shell to complete the words of this command: commands, options, what their values
can be, and file names.`,
    notes: `bash: put 'source <(qcow2 completion bash)' into ~/.bashrc.
zsh: put 'source <(qcow2 completion zsh)' into ~/.zshrc, behind compinit.
fish: 'qcow2 completion fish > ~/.config/fish/completions/qcow2.fish'.`,
    examples: ["bash", "fish"],
    exitCodes: [
      [0, "the script was printed"],
      [1, "the command line is wrong"],
    ],
  },
  run: runCompletion,
};

async function runCompletion(args: ParsedArguments<OptionTable>, { out }: CommandContext): Promise<number> {
  const [shell, ...rest] = args.operands;
  const script = Object.entries(SHELLS).find(([name]) => name === shell)?.[1];
  if (script === undefined || rest.length > 0) {
    throw new UsageError(`Expecting the name of a shell: ${Object.keys(SHELLS).join(", ")}`);
  }
  await out.print(script(await describeCommands()));
  return 0;
}
