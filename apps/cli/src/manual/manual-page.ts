/** The manual page qcow2(1), made of what `--help` says. */
import { NOTES_ON_NAMES } from "../commands/common-options.ts";
import type { DescribedCommand, DescribedOption } from "../completion/described-command.ts";
import { HELP_OPTION } from "../options/getopt.ts";
import { bold, italic, paragraphs, plain, synopsis, tagged, verbatim } from "./roff.ts";

const DESCRIPTION = `Creates, inspects, converts, checks and repairs disk images in QEMU's format qcow2, and raw ones, without QEMU.
Commands, options, output and exit codes are those of qemu-img and qemu-io; through a link of one of these names, the
command answers as that program. The commands completion, help and ls are found only here. With --help each command
explains itself.`;

const ENVIRONMENT: readonly (readonly [name: string, meaning: string])[] = [
  ["NO_COLOR", "If set, there are no colours on a terminal. Elsewhere there never are any."],
  ["FORCE_COLOR", "0 for no colours on a terminal, 1 for colours although TERM is dumb."],
  [
    "QCOW2_NO_FFI",
    "If set to 1, calls that Node.js does not offer are not made: holes are found by reading, and files are not locked.",
  ],
];

const SEE_ALSO = ["qemu-img(1)", "qemu-io(1)", "qemu-nbd(8)"];

export function manualPage(commands: readonly DescribedCommand[], version: string): string {
  const lines = [
    `.\\" Made by 'qcow2 help --man'.`,
    `.TH QCOW2 1 "" "qcow2 ${plain(version)}" "User Commands"`,
    // Neither filled up with spaces nor hyphenated: there are too many words to copy.
    ".ad l",
    ".nh",
    ".SH NAME",
    `qcow2 \\- create, inspect, convert, check and repair disk images`,
    ".SH SYNOPSIS",
    ".nf",
    synopsis("qcow2", "COMMAND [OPTIONS] FILE..."),
    synopsis("qcow2 help", "[COMMAND]"),
    `${bold("qcow2")} ${bold("-h")}|${bold("--help")}|${bold("-V")}|${bold("--version")}`,
    ".fi",
    ".SH DESCRIPTION",
    ...paragraphs(DESCRIPTION),
    ".PP",
    ...paragraphs(NOTES_ON_NAMES),
    ".SH COMMANDS",
    ...commands.flatMap(commandLines),
    ".SH EXIT STATUS",
    "0 on success and 1 on failure, and with some commands more:",
    ...commands.flatMap(exitLines),
    ".SH ENVIRONMENT",
    ...ENVIRONMENT.flatMap(([name, meaning]) => [...tagged(bold(name), meaning)]),
    ".SH EXAMPLES",
    ...verbatim(commands.map(({ name, command }) => exampleLine(name, command.help.examples[0] ?? ""))),
    ".SH SEE ALSO",
    SEE_ALSO.map((page) =>
      page.replace(/^(.*)(\(\d\))$/, (_, name: string, at: string) => bold(name) + at),
    ).join(",\n"),
  ];
  return `${withoutEmptyParagraphs(lines).join("\n")}\n`;
}

/** A paragraph is begun already by a heading, and is begun anew by a tag. */
function withoutEmptyParagraphs(lines: readonly string[]): string[] {
  return lines.filter(
    (line, index) =>
      line !== ".PP" ||
      !(/^\.S[HS]/.test(lines[index - 1] ?? "") || /^\.(TP|PP)/.test(lines[index + 1] ?? "")),
  );
}

function commandLines({ name, summary, command: { help }, options }: DescribedCommand): string[] {
  const notes = (help.notes ?? "").replace(NOTES_ON_NAMES, "").trim();
  return [
    `.SS ${name}`,
    `${plain(summary)}.`,
    ...verbatim(help.usage.map((usage) => synopsis(`qcow2 ${name}`, usage))),
    ".PP",
    ...paragraphs(help.description),
    ...options
      .filter(({ spec }) => spec !== HELP_OPTION)
      .flatMap((option) => [...tagged(optionTag(option), option.spec.help)]),
    ...(notes === "" ? [] : [".PP", ...paragraphs(notes)]),
    ...verbatim(help.examples.map((example) => exampleLine(name, example))),
  ];
}

function optionTag({ names, spec: { value } }: DescribedOption): string {
  const tags = names.map((name) => {
    if (value === undefined) return bold(name);
    return `${bold(name)}${name.startsWith("--") ? "=" : " "}${valueText(value)}`;
  });
  return tags.join(", ");
}

/** Words to choose from are typed as they are; everything else stands for something. */
function valueText(value: string): string {
  return value.includes("|") ? value.split("|").map(bold).join("|") : italic(value);
}

function exampleLine(name: string, example: string): string {
  return plain(`qcow2 ${name} ${example}`.trimEnd());
}

/** Of commands whose exit codes say more than whether they succeeded. */
function exitLines({ name, command }: DescribedCommand): string[] {
  const codes = command.help.exitCodes;
  if (codes.every(([code]) => code <= 1)) return [];
  return [
    ".TP",
    bold(name),
    codes.map(([code, meaning]) => `${bold(String(code))} ${plain(meaning)}`).join(";\n"),
  ];
}
