import type { Command } from "../command.ts";
import { COMMANDS } from "../commands.ts";
import { HELP_OPTION, type OptionSpec } from "../options/getopt.ts";
import type { ProgramName } from "../program.ts";

const HELP_COLUMN = 28;

/** `qcow2 --help`. */
export function programHelp(program: ProgramName): string {
  const width = Math.max(...Object.keys(COMMANDS).map(({ length }) => length));
  const commands = Object.entries(COMMANDS).map(
    ([name, { summary }]) => `  ${name.padEnd(width)} ${summary}`,
  );
  return `${[
    `Usage: ${program} COMMAND [OPTIONS] FILE...`,
    "",
    "Creates, inspects, converts and checks qcow2 and raw disk images, in the words of qemu-img.",
    "",
    "Commands:",
    ...commands,
    "",
    `  '${program} COMMAND --help' explains a command, with examples.`,
    "",
    "Options:",
    "  -h, --help     print this help and exit",
    "  -V, --version  print the version and exit",
    "",
    "Examples:",
    `  ${program} create -f qcow2 disk.qcow2 20G`,
    `  ${program} convert -p -c -O qcow2 disk.img disk.qcow2`,
    `  ${program} info --output=json disk.qcow2`,
    `  ${program} check disk.qcow2`,
  ].join("\n")}\n`;
}

/** `qcow2 COMMAND --help`; `invocation` is how the command is called. */
export function commandHelp(invocation: string, command: Command): string {
  const { help } = command;
  const usage = help.usage.map((line, index) => `${index === 0 ? "Usage:" : "      "} ${invocation} ${line}`);
  const sections = [
    usage.join("\n"),
    help.description,
    section("Options", [HELP_OPTION, ...Object.values(command.options)].map(optionLine)),
    ...(help.notes === undefined ? [] : [help.notes]),
    section(
      "Examples",
      help.examples.map((example) => `  ${invocation} ${example}`.trimEnd()),
    ),
    section(
      "Exit codes",
      help.exitCodes.map(([code, meaning]) => `  ${String(code).padEnd(3)} ${meaning}`),
    ),
  ];
  return `${sections.join("\n\n")}\n`;
}

function section(title: string, lines: readonly string[]): string {
  return [`${title}:`, ...lines].join("\n");
}

function optionLine({ short, long, value, help }: OptionSpec): string {
  const names = [short === undefined ? "   " : `-${short}${long === undefined ? "" : ","}`];
  if (long !== undefined) names.push(`--${long}`);
  const argument = value === undefined ? "" : long === undefined ? ` ${value}` : `=${value}`;
  const left = `  ${names.join(" ")}${argument}`;
  if (left.length + 2 > HELP_COLUMN) return `${left}\n${" ".repeat(HELP_COLUMN)}${help}`;
  return left.padEnd(HELP_COLUMN) + help;
}
