/** The options that our built command has, and which of them a command line uses. */
import { loadOurBundle } from "../our-bundle.ts";

/** An entry of a command's option table. */
interface OurOption {
  readonly short?: string;
  readonly long?: string;
  readonly aliases?: readonly string[];
  readonly value?: string;
}

interface Commands {
  readonly COMMANDS: Readonly<
    Record<string, { load(): Promise<{ readonly options: Readonly<Record<string, OurOption>> }> }>
  >;
}

const HELP: OurOption = { short: "h", long: "help" };

function ourCommands(): Commands["COMMANDS"] {
  return (loadOurBundle() as Commands).COMMANDS;
}

export function ourCommandNames(): string[] {
  return Object.keys(ourCommands());
}

/** The spellings of a command's options, with their dashes: `-o`, `--options`; whether each takes a value. */
export async function ourSpellings(command: string): Promise<ReadonlyMap<string, boolean>> {
  const { options } = await ourCommands()[command]!.load();
  const spellings = new Map<string, boolean>();
  for (const { short, long, aliases = [], value } of [HELP, ...Object.values(options)]) {
    if (short !== undefined) spellings.set(`-${short}`, value !== undefined);
    for (const name of long === undefined ? [] : [long, ...aliases]) {
      spellings.set(`--${name}`, value !== undefined);
    }
  }
  return spellings;
}

/** The spellings that the words behind a command's name use; names that are cut short do not count. */
export function spellingsUsed(
  words: readonly string[],
  spellings: ReadonlyMap<string, boolean>,
): Set<string> {
  const used = new Set<string>();
  for (let index = 0; index < words.length; index++) {
    const word = words[index]!;
    if (word === "--") break;
    if (word.startsWith("--")) {
      const name = word.split("=")[0]!;
      used.add(name);
      if (spellings.get(name) === true && name === word) index++;
      continue;
    }
    if (!word.startsWith("-")) continue;
    for (let at = 1; at < word.length; at++) {
      const letter = `-${word[at]}`;
      used.add(letter);
      if (spellings.get(letter) !== true) continue;
      if (at === word.length - 1) index++;
      break;
    }
  }
  return used;
}
