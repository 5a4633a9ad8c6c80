import { mkdir, readFile, writeFile } from "node:fs/promises";
import { execa } from "execa";
import { describe, expect, test } from "vitest";
import { COMMANDS } from "../src/commands.ts";
import { describeCommands } from "../src/completion/described-command.ts";
import { valueWords } from "../src/completion/value-words.ts";
import { runHere, type Workspace, whyNoTerminal, workspace } from "./run-command.ts";

/** A folder with some files, and the script for a shell. */
async function prepared(shell: string): Promise<Workspace> {
  const at = await workspace();
  await writeFile(at.file("script"), await at.succeed("completion", shell));
  await writeFile(at.file("disk.qcow2"), "");
  await writeFile(at.file("disk two.img"), "");
  await mkdir(at.file("directory"));
  return at;
}

async function whyNot(shell: string): Promise<string | undefined> {
  if (process.platform === "win32") return "paths are other ones on Windows";
  const { exitCode } = await execa(shell, ["-c", "exit 0"], { reject: false });
  return exitCode === 0 ? undefined : `${shell} is not installed`;
}

/** What bash takes a command line apart into. */
function bashWords(line: string): string[] {
  const words = line.split(/ +/);
  return words.flatMap((word) => (word === "" ? [""] : (word.match(/[=:]+|[^=:]+/g) ?? [])));
}

const BASH_HARNESS = `
source ./script
COMP_LINE=$1 COMP_POINT=\${#1} COMP_TYPE=9
COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:'
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_qcow2
printf '%s\\n' "\${COMPREPLY[@]}"
`;

async function completeInBash(at: Workspace, line: string): Promise<string[]> {
  const args = ["--norc", "-c", BASH_HARNESS, "bash", line, ...bashWords(line)];
  const { stdout } = await execa("bash", args, { cwd: at.folder });
  return stdout.split("\n").filter((word) => word !== "");
}

async function completeInFish(at: Workspace, line: string): Promise<string[]> {
  const { stdout } = await execa(
    "fish",
    ["--no-config", "-c", "source ./script; complete -C $argv[1]", line],
    {
      cwd: at.folder,
      env: { HOME: at.folder },
    },
  );
  return stdout
    .split("\n")
    .map((word) => word.split("\t")[0]!)
    .filter((word) => word !== "");
}

/** What a person gets who types `line` in an interactive shell, tabs included: the words of the command in the end. */
async function type(at: Workspace, shell: string, line: string, setUp: string): Promise<string[]> {
  const { stdout } = await execa("script", ["-qec", shell, "/dev/null"], {
    cwd: at.folder,
    env: { TERM: "dumb", HOME: at.folder, PS1: "$ " },
    input: `${setUp}\nqcow2() { printf '<%s>' "$@" >>./typed; }\n${line}\nexit\n`,
    reject: false,
    timeout: 60_000,
  });
  const typed = await readFile(at.file("typed"), "utf8").catch(() => {
    throw new Error(`nothing was run: ${stdout}`);
  });
  return [...typed.matchAll(/<(.*?)>/g)].map((match) => match[1]!);
}

/** Command lines, and all that they can be completed by. */
const CASES: readonly (readonly [line: string, words: readonly string[]])[] = [
  ["qcow2 inf", ["info"]],
  ["qcow2 co", ["commit", "compare", "completion", "convert"]],
  ["qcow2 --v", ["--version"]],
  ["qcow2 info --outp", ["--output"]],
  ["qcow2 info --output ", ["human", "json"]],
  ["qcow2 info -f q", ["qcow2"]],
  ["qcow2 convert -O ", ["qcow2", "raw"]],
  ["qcow2 check -r ", ["all", "leaks"]],
  ["qcow2 ls --sort d", ["disk"]],
  ["qcow2 resize --preallocation f", ["falloc", "full"]],
  ["qcow2 completion ", ["bash", "fish", "zsh"]],
  ["qcow2 help ame", ["amend"]],
  ["qcow2 info dis", ["disk two.img", "disk.qcow2"]],
  ["qcow2 info -U -- dis", ["disk two.img", "disk.qcow2"]],
  ["qcow2 create -b dir", ["directory"]],
  ["qcow2 convert disk.qcow2 -t writet", ["writethrough"]],
  ["qcow2 measure --size 1", []],
  ["qcow2 bogus --", []],
];

const noBash = await whyNot("bash");
describe.skipIf(noBash !== undefined)(
  `completion in bash${noBash === undefined ? "" : ` (${noBash})`}`,
  () => {
    // What bash replaces begins behind a colon or an equals sign.
    const cases = [
      ...CASES,
      ["qcow2 info --output=", ["human", "json"]],
      ["qcow2 info --output=j", ["json"]],
      ["qcow2 info -fq", ["-fqcow2"]],
      ["qcow2 create -o cluster", ["cluster_size="]],
      ["qcow2 create -o preallocation=f", ["falloc", "full"]],
      ["qcow2 create -o size=1G,compression_type=z", ["zlib", "zstd"]],
      ["qcow2 create -f qcow2 -o lazy_refcounts=on,comp", ["on,compat=", "on,compression_type="]],
      ["qcow2 amend -o compat=", ["0.10", "1.1"]],
      ["qcow2 dd i", ["if="]],
      ["qcow2 dd if=disk.q", ["disk.qcow2"]],
      ["qcow2 dd if=disk.qcow2 of", ["of="]],
    ] as const;

    test.each(cases)("%s", async (line, words) => {
      const at = await prepared("bash");
      expect((await completeInBash(at, line)).sort()).toEqual([...words]);
    });

    test("offers every command, and every option of each", async () => {
      const at = await prepared("bash");
      expect(await completeInBash(at, "qcow2 ")).toEqual(Object.keys(COMMANDS));
      for (const { name, options } of await describeCommands()) {
        expect(await completeInBash(at, `qcow2 ${name} -`), name).toEqual(
          options.flatMap(({ names }) => names),
        );
      }
    });
  },
);

const noFish = await whyNot("fish");
describe.skipIf(noFish !== undefined)(
  `completion in fish${noFish === undefined ? "" : ` (${noFish})`}`,
  () => {
    const cases = CASES.filter(([line]) => !line.includes("bogus") && !line.includes("--size"));
    test.each(cases)("%s", async (line, words) => {
      const at = await prepared("fish");
      const found = await completeInFish(at, line);
      // fish also offers what contains the word, and writes folders with a slash and spaces with a backslash.
      for (const word of words)
        expect(found.map((text) => text.replace(/\/$/, "").replaceAll("\\ ", " "))).toContain(word);
    });

    test("options of lists, one after the other", async () => {
      const at = await prepared("fish");
      expect(await completeInFish(at, "qcow2 create -o preall")).toEqual(
        ["off", "metadata", "falloc", "full"].map((mode) => `preallocation=${mode}`).sort(),
      );
      expect(await completeInFish(at, "qcow2 create -o size=1G,cluster")).toEqual(["size=1G,cluster_size="]);
    });
  },
);

const TYPED: readonly (readonly [line: string, words: readonly string[]])[] = [
  ["qcow2 inf\t--outp\tj\tdisk.q\t", ["info", "--output=json", "disk.qcow2"]],
  [
    "qcow2 convert -O qc\t-o preall\tfal\t disk\\ \t",
    ["convert", "-O", "qcow2", "-o", "preallocation=falloc", "disk two.img"],
  ],
];

const noTerminal = await whyNoTerminal();
const noInteractiveBash = noTerminal ?? noBash;
describe.skipIf(noInteractiveBash !== undefined)(
  `typing in bash${noInteractiveBash === undefined ? "" : ` (${noInteractiveBash})`}`,
  () => {
    test.each(TYPED)("%j", async (line, words) => {
      const at = await prepared("bash");
      // bash puts a space, and not "=", behind an option.
      const expected = words.flatMap((word) => (word.startsWith("--") ? word.split("=") : [word]));
      expect(await type(at, "bash --norc --noprofile -i", line, "source ./script")).toEqual(expected);
    });
  },
);

const noZsh = noTerminal ?? (await whyNot("zsh"));
describe.skipIf(noZsh !== undefined)(`typing in zsh${noZsh === undefined ? "" : ` (${noZsh})`}`, () => {
  test.each(TYPED)("%j", async (line, words) => {
    const at = await prepared("zsh");
    const setUp = "autoload -Uz compinit; compinit -u -D; source ./script";
    expect(await type(at, "zsh -f -i", line, setUp)).toEqual(words);
  });
});

test("the kind of every value is known", async () => {
  const unknown = (await describeCommands()).flatMap(({ name, options }) =>
    options
      .filter(({ spec }) => spec.value !== undefined && valueWords(name, spec) === undefined)
      .map(({ spec }) => `${name} ${spec.value}`),
  );
  expect(unknown).toEqual([]);
});

test("another shell is refused", async () => {
  expect(await runHere(".", ["completion", "csh"])).toMatchObject({ exitCode: 1, stdout: "" });
  expect(await runHere(".", ["completion", "constructor"])).toMatchObject({ exitCode: 1, stdout: "" });
});
