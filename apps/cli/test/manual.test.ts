import { readFile, stat, writeFile } from "node:fs/promises";
import { execa } from "execa";
import { describe, expect, test } from "vitest";
import { describeCommands } from "../src/completion/described-command.ts";
import { HELP_OPTION } from "../src/options/getopt.ts";
import { runHere, workspace } from "./run-command.ts";

const { stdout: PAGE } = await runHere(".", ["help", "--man"]);
const COMMANDS = await describeCommands();

/** Undefined if `program` is there, else the reason to skip. */
async function whyNot(program: string): Promise<string | undefined> {
  const { exitCode } = await execa("sh", ["-c", `command -v ${program}`], { reject: false });
  return exitCode === 0 ? undefined : `${program} is not installed`;
}

async function pageFile(): Promise<string> {
  const at = await workspace();
  await writeFile(at.file("qcow2.1"), PAGE);
  return at.file("qcow2.1");
}

test("the manual page has the usual sections, and one for each command", () => {
  expect([...PAGE.matchAll(/^\.SH (.*)$/gm)].map((match) => match[1])).toEqual([
    "NAME",
    "SYNOPSIS",
    "DESCRIPTION",
    "COMMANDS",
    "EXIT STATUS",
    "ENVIRONMENT",
    "EXAMPLES",
    "SEE ALSO",
  ]);
  expect([...PAGE.matchAll(/^\.SS (.*)$/gm)].map((match) => match[1])).toEqual(
    COMMANDS.map(({ name }) => name),
  );
});

test("it is built into the package, where package.json says", async () => {
  const folder = new URL("../", import.meta.url);
  const {
    man: [page = ""],
    files,
  } = JSON.parse(await readFile(new URL("package.json", folder), "utf8")) as {
    readonly man: readonly string[];
    readonly files: readonly string[];
  };
  expect(files.some((name) => page.startsWith(`./${name}/`))).toBe(true);
  expect((await stat(new URL(page, folder))).size).toBeGreaterThan(10_000);
});

test("it is for no single command", async () => {
  expect(await runHere(".", ["help", "--man", "info"])).toMatchObject({ exitCode: 1, stdout: "" });
});

const noGroff = await whyNot("groff");
describe.skipIf(noGroff !== undefined)(
  `the page in groff${noGroff === undefined ? "" : ` (${noGroff})`}`,
  () => {
    test("has no warnings", async () => {
      const { stderr } = await execa("groff", ["-ww", "-man", "-Tutf8", "-z", await pageFile()]);
      expect(stderr).toBe("");
    });
  },
);

const noMan = await whyNot("man");
const cannotShow = noMan ?? (process.platform === "linux" ? undefined : "man has other options here");
describe.skipIf(cannotShow !== undefined)(
  `the page in man${cannotShow === undefined ? "" : ` (${cannotShow})`}`,
  () => {
    test("shows every option and example as it has to be typed, and has no warnings", async () => {
      const { stdout, stderr } = await execa("man", ["--warnings", "-l", await pageFile()], {
        env: { MANWIDTH: "200", LC_ALL: "C.UTF-8", MAN_KEEP_FORMATTING: "", PAGER: "cat" },
      });
      expect(stderr).toBe("");
      const [, shown = ""] = stdout.split(/^COMMANDS$/m);
      const parts = shown.split(/^ {3}(?=\w)/m);
      for (const { name, command, options } of COMMANDS) {
        const part = parts.find((text) => text.startsWith(`${name}\n`)) ?? "";
        for (const { names, spec } of options.filter(({ spec }) => spec !== HELP_OPTION)) {
          expect(part, `${name} ${names.join(" ")}`).toMatch(new RegExp(`^ {7}${names[0]}\\b.*`, "m"));
          expect(part).toContain(`${spec.help}\n`);
        }
        for (const example of command.help.examples) {
          expect(part).toContain(`           qcow2 ${name} ${example}`.trimEnd());
        }
      }
    });
  },
);

const noMandoc = await whyNot("mandoc");
describe.skipIf(noMandoc !== undefined)(
  `the page in mandoc${noMandoc === undefined ? "" : ` (${noMandoc})`}`,
  () => {
    test("has no warnings, except that it has no date", async () => {
      const { stdout } = await execa("mandoc", ["-T", "lint", "-W", "warning", await pageFile()], {
        reject: false,
      });
      expect(stdout.split("\n").filter((line) => line !== "" && !line.includes("missing date"))).toEqual([]);
    });
  },
);
