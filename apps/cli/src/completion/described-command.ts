/** The command line as data: what scripts for shells, and the manual, are made of. */
import type { Command } from "../command.ts";
import { COMMANDS } from "../commands.ts";
import { HELP_OPTION, type OptionSpec } from "../options/getopt.ts";
import { type ValueWords, valueWords } from "./value-words.ts";

export interface DescribedCommand {
  readonly name: string;
  readonly summary: string;
  readonly command: Command;
  readonly options: readonly DescribedOption[];
}

export interface DescribedOption {
  readonly spec: OptionSpec;
  /** With their dashes: "-f", "--format". */
  readonly names: readonly string[];
  /** Undefined for an option without a value. */
  readonly value: ValueWords | undefined;
}

/** Every command, loaded. */
export async function describeCommands(): Promise<DescribedCommand[]> {
  return await Promise.all(
    Object.entries(COMMANDS).map(async ([name, { summary, load }]) => {
      const command = await load();
      const specs = [HELP_OPTION, ...Object.values(command.options)];
      return { name, summary, command, options: specs.map((spec) => describeOption(name, spec)) };
    }),
  );
}

function describeOption(command: string, spec: OptionSpec): DescribedOption {
  const { short, long, value } = spec;
  return {
    spec,
    names: [...(short === undefined ? [] : [`-${short}`]), ...(long === undefined ? [] : [`--${long}`])],
    value: value === undefined ? undefined : (valueWords(command, spec) ?? { kind: "free" }),
  };
}
