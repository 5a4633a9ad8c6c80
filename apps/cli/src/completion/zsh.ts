/** The completion script for zsh. */
import type { DescribedCommand, DescribedOption } from "./described-command.ts";
import type { ListName } from "./value-words.ts";

export function zshCompletion(commands: readonly DescribedCommand[]): string {
  return `#compdef qcow2
# Completion of the command qcow2 in zsh, made by 'qcow2 completion zsh'.

_qcow2() {
    local curcontext=$curcontext context state state_descr line
    typeset -A opt_args
    _arguments -C \\
        '(- *)'{-h,--help}'[print this help and exit]' \\
        '(- *)'{-V,--version}'[print the version and exit]' \\
        '1:command:->command' '*::argument:->argument' && return
    case $state in
        command)
            local -a commands=(
${commands.map(({ name, summary }) => `                ${quote(`${name}:${summary}`)}`).join("\n")}
            )
            _describe -t commands command commands
            ;;
        argument)
            curcontext=\${curcontext%:*:*}:qcow2-$words[1]:
            case $words[1] in
${commands.map(commandCase).join("\n")}
            esac
            ;;
    esac
}

${[...lists(commands), ...operands(commands)].join("\n\n")}

if [[ $funcstack[1] == _qcow2 ]]; then _qcow2 "$@"; else compdef _qcow2 qcow2; fi
`;
}

function commandCase(described: DescribedCommand): string {
  const { name, options } = described;
  const specs = [...options.map((option) => argumentSpec(name, option)), operandSpec(described)];
  return `                ${name})
                    _arguments -s -S \\
${specs.map((spec) => `                        ${spec}`).join(" \\\n")}
                    ;;`;
}

function argumentSpec(command: string, { names, spec, value }: DescribedOption): string {
  // Short: value attached or the next word; long: behind '=' or the next word.
  const forms = names.map((name) => {
    if (value === undefined) return name;
    return name.startsWith("--") ? `${name}=` : `${name}+`;
  });
  const form = forms.length === 1 ? forms[0] : `{${forms.join(",")}}`;
  const argument = value === undefined ? "" : `:${escapeSpec(spec.value ?? "")}:${action(command, value)}`;
  return `'*'${form}${quote(`[${escapeSpec(spec.help)}]${argument}`)}`;
}

function action(command: string, value: NonNullable<DescribedOption["value"]>): string {
  switch (value.kind) {
    case "words":
      return `(${value.words.join(" ")})`;
    case "files":
      return "_files";
    case "list":
      return `_qcow2_list_${command}`;
    case "free":
      return " ";
  }
}

function operandSpec({ name, command: { operandWords } }: DescribedCommand): string {
  return operandWords === undefined ? "'*:file:_files'" : `'*:operand:_qcow2_operand_${name}'`;
}

function operandFunction(name: string, words: readonly string[]): string {
  const names = words.filter((word) => word.endsWith("="));
  const plain = words.filter((word) => !word.endsWith("="));
  return `_qcow2_operand_${name}() {
    if compset -P '*='; then
        _files
    else
        local -a names=(${names.join(" ")}) words=(${plain.join(" ")})
        compadd -S '' -- $names
        compadd -- $words
    fi
}`;
}

function lists(commands: readonly DescribedCommand[]): string[] {
  return commands.flatMap(({ name, options }) =>
    options.flatMap(({ value }) => (value?.kind === "list" ? [listFunction(name, value.names)] : [])),
  );
}

function operands(commands: readonly DescribedCommand[]): string[] {
  return commands.flatMap(({ name, command: { operandWords } }) =>
    operandWords === undefined ? [] : [operandFunction(name, operandWords)],
  );
}

function listFunction(command: string, names: readonly ListName[]): string {
  const entries = names.map(({ name, help, values }) => {
    const choices = values.length === 0 ? " " : `(${values.join(" ")})`;
    return `        ${quote(`${name}[${escapeSpec(help)}]:value:${choices}`)}`;
  });
  return `_qcow2_list_${command}() {
    _values -s , -S = option \\
${entries.join(" \\\n")}
}`;
}

/** Within a spec of _arguments or _values, where brackets and colons mean something. */
function escapeSpec(text: string): string {
  return text
    .replaceAll("\\", "\\\\")
    .replace(/[[\]:]/g, "\\$&")
    .replaceAll("'", "'\\''");
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
