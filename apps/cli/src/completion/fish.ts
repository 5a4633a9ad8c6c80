/** The completion script for fish. */
import type { DescribedCommand, DescribedOption } from "./described-command.ts";
import type { ListName } from "./value-words.ts";

export function fishCompletion(commands: readonly DescribedCommand[]): string {
  const lines = [
    "# Completion of the command qcow2 in fish, made by 'qcow2 completion fish'.",
    "complete -c qcow2 -e",
    "complete -c qcow2 -n __fish_use_subcommand -f",
    "complete -c qcow2 -n __fish_use_subcommand -s h -l help -d 'print this help and exit'",
    "complete -c qcow2 -n __fish_use_subcommand -s V -l version -d 'print the version and exit'",
    ...commands.flatMap(commandLines),
  ];
  return `${lines.join("\n")}\n`;
}

function commandLines({ name, summary, command, options }: DescribedCommand): string[] {
  const within = `complete -c qcow2 -n '__fish_seen_subcommand_from ${name}'`;
  const words = command.operandWords;
  return [
    "",
    `complete -c qcow2 -n __fish_use_subcommand -a ${name} -d ${quote(summary)}`,
    words === undefined ? `${within} -F` : `${within} -f -a ${quote(words.join(" "))}`,
    ...options.map((option) => `${within} ${optionArguments(option)}`),
  ];
}

function optionArguments({ spec: { short, long, help }, value }: DescribedOption): string {
  return [
    ...(short === undefined ? [] : [`-s ${short}`]),
    ...(long === undefined ? [] : [`-l ${long}`]),
    ...(value === undefined ? [] : [valueArguments(value)]),
    `-d ${quote(help)}`,
  ].join(" ");
}

function valueArguments(value: NonNullable<DescribedOption["value"]>): string {
  switch (value.kind) {
    case "words":
      return `-x -a ${quote(value.words.join(" "))}`;
    case "files":
      return "-r -F";
    case "list":
      return `-x -a ${quote(`(__fish_append , ${value.names.flatMap(listWords).join(" ")})`)}`;
    case "free":
      return "-x";
  }
}

function listWords({ name, values }: ListName): string[] {
  return values.length === 0 ? [`${name}=`] : values.map((value) => `${name}=${value}`);
}

function quote(text: string): string {
  return `'${text.replace(/['\\]/g, "\\$&")}'`;
}
