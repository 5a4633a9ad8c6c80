/** The completion script for bash, 3.2 and later. */
import type { DescribedCommand, DescribedOption } from "./described-command.ts";
import type { ValueWords } from "./value-words.ts";

export function bashCompletion(commands: readonly DescribedCommand[]): string {
  return `# Completion of the command qcow2 in bash, made by 'qcow2 completion bash'.

_qcow2_options() {
    case $1 in
${commands.map(({ name, options }) => `        ${name}) REPLY=${quote(optionNames(options).join(" "))} ;;`).join("\n")}
        '') REPLY='-h --help -V --version' ;;
        *) REPLY='' ;;
    esac
}

# Sets KIND and REPLY to what can be the value of option $2 of command $1; fails if that option takes none.
_qcow2_value() {
    case "$1 $2" in
${valueCases(commands).join("\n")}
        *) return 1 ;;
    esac
}

# Sets KIND and REPLY to what can be an operand of command $1.
_qcow2_operand() {
    KIND=files REPLY=
    case $1 in
${commands
  .filter(({ command }) => command.operandWords !== undefined)
  .map(
    ({ name, command }) =>
      `        ${name}) KIND=words REPLY=${quote((command.operandWords ?? []).join(" "))} ;;`,
  )
  .join("\n")}
    esac
}

# Adds to COMPREPLY what begins with $2, each with $1 in front.
_qcow2_add() {
    local word
    case $KIND in
        files)
            compopt -o filenames 2>/dev/null
            while IFS= read -r word; do COMPREPLY+=("$1$word"); done < <(compgen -f -- "$2")
            ;;
        words)
            case $2 in
                *=*) KIND=files; _qcow2_add "$1\${2%%=*}=" "\${2#*=}" ;;
                *)
                    for word in $REPLY; do
                        [[ $word != "$2"* ]] || COMPREPLY+=("$1$word")
                    done
                    ;;
            esac
            ;;
        list)
            local done=
            [[ $2 != *,* ]] || done=\${2%,*},
            for word in $REPLY; do
                # Values of a name only once the name is there.
                [[ \${2##*,} == *=* || $word != *=?* ]] || continue
                [[ $word != "\${2##*,}"* || $word == "\${2##*,}" ]] || COMPREPLY+=("$1$done$word")
            done
            ;;
    esac
}

_qcow2() {
    # bash takes words apart at '=' and ':'; here they are put together again, up to the cursor.
    local line=\${COMP_LINE:0:COMP_POINT} words=() at word
    for ((at = 0; at <= COMP_CWORD; at++)); do
        word=\${COMP_WORDS[at]}
        ((at < COMP_CWORD)) || word=\${line#"\${line%%[![:space:]]*}"}
        if [[ $at -gt 0 && -n $word && $line == "$word"* ]]; then
            words[\${#words[@]}-1]+=$word
        else
            words+=("$word")
        fi
        line=\${line#*"$word"}
    done

    local cur=\${words[\${#words[@]}-1]} command='' KIND=words REPLY='' operands_only='' option
    COMPREPLY=()
    for ((at = 1; at < \${#words[@]} - 1; at++)); do
        word=\${words[at]}
        if [[ -z $command ]]; then
            [[ $word == -* ]] || command=$word
        elif [[ $word == -- ]]; then
            operands_only=1
        fi
    done

    local prev=\${words[\${#words[@]}-2]}
    if [[ -z $command ]]; then
        if [[ $cur == -* ]]; then _qcow2_options ''; else REPLY=${quote(commands.map(({ name }) => name).join(" "))}; fi
        _qcow2_add '' "$cur"
    elif [[ -z $operands_only && $prev == -* ]] && _qcow2_value "$command" "$prev"; then
        _qcow2_add '' "$cur"
    elif [[ -z $operands_only && $cur == --*=* ]]; then
        _qcow2_value "$command" "\${cur%%=*}" && _qcow2_add "\${cur%%=*}=" "\${cur#*=}"
    elif [[ -z $operands_only && $cur == -[!-]?* ]] && _qcow2_value "$command" "\${cur:0:2}"; then
        _qcow2_add "\${cur:0:2}" "\${cur:2}"
    elif [[ -z $operands_only && $cur == -* ]]; then
        _qcow2_options "$command"
        _qcow2_add '' "$cur"
    else
        _qcow2_operand "$command"
        _qcow2_add '' "$cur"
    fi

    if [[ \${#COMPREPLY[@]} -gt 0 && \${COMPREPLY[0]} == *= ]]; then compopt -o nospace 2>/dev/null; fi
    # What bash replaces begins behind the last '=' or ':'.
    local kept='' mark
    for mark in = :; do
        [[ $COMP_WORDBREAKS != *"$mark"* || $cur != *"$mark"* ]] || {
            word=\${cur%"$mark"*}$mark
            ((\${#word} <= \${#kept})) || kept=$word
        }
    done
    [[ -z $kept ]] || for at in "\${!COMPREPLY[@]}"; do COMPREPLY[at]=\${COMPREPLY[at]#"$kept"}; done
}

complete -F _qcow2 qcow2
`;
}

function optionNames(options: readonly DescribedOption[]): string[] {
  return options.flatMap(({ names }) => names);
}

/** A branch for each kind of value, with all the options that take it. */
function valueCases(commands: readonly DescribedCommand[]): string[] {
  const patterns = new Map<string, string[]>();
  for (const { name, options } of commands) {
    for (const { names, value } of options) {
      if (value === undefined) continue;
      const answer = assignment(value);
      const known = patterns.get(answer) ?? [];
      patterns.set(answer, known);
      known.push(...names.map((option) => `${name} ${option}`));
    }
  }
  return Array.from(
    patterns,
    ([answer, options]) => `        ${options.map((option) => `"${option}"`).join(" | ")}) ${answer} ;;`,
  );
}

function assignment(value: ValueWords): string {
  switch (value.kind) {
    case "words":
      return `KIND=words REPLY=${quote(value.words.join(" "))}`;
    case "list":
      return `KIND=list REPLY=${quote(value.names.flatMap(listWords).join(" "))}`;
    default:
      return `KIND=${value.kind} REPLY=`;
  }
}

function listWords({
  name,
  values,
}: {
  readonly name: string;
  readonly values: readonly string[];
}): string[] {
  return [`${name}=`, ...values.map((value) => `${name}=${value}`)];
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
