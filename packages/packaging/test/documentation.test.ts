import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { beforeAll, describe, expect, inject, it } from "vitest";
import { type CodeBlock, codeBlocks } from "../src/code-blocks.ts";
import { compile } from "../src/consumer.ts";
import { PUBLISHED_PACKAGES, REPOSITORY } from "../src/published-packages.ts";

/** Documents whose examples are run from top to bottom, in a folder with one raw disk, "disk.raw". */
const DOCUMENTS = ["README.md", "llms.txt", ...PUBLISHED_PACKAGES.map(({ folder }) => `${folder}/README.md`)];

const DISK = `
import { RawDisk } from "@qcow2/core";
import { FileStorage } from "@qcow2/node";
await using disk = await RawDisk.open({ storage: await FileStorage.open("disk.raw", { create: true }), size: 33554432 });
await disk.write({ offset: 1048576, from: new Uint8Array(500_000).map((_, index) => index % 241) });
await disk.flush();
`;

describe.each(DOCUMENTS)("the examples in %s", (document) => {
  const folder = join(inject("consumer"), document.replaceAll(/[/.]/g, "-"));
  const blocks = codeBlocks(readFileSync(join(REPOSITORY, document), "utf8"));

  beforeAll(async () => {
    const programs = blocks
      .filter((block) => block.language === "ts")
      .map((block) => [programName(block), block.text]);
    await compile(folder, { "disk.ts": DISK, ...Object.fromEntries(programs) }, { host: "node" });
    await execa(process.execPath, ["out/disk.js"], { cwd: folder, stdin: "ignore" });
  });

  it("exist", () => {
    expect(blocks.length).toBeGreaterThan(0);
  });

  // In the order of the document: later examples use what earlier ones made.
  for (const block of blocks) {
    if (block.language === "ts") {
      it(`line ${block.line}: the program`, async () => {
        const program = join("out", programName(block).replace(/ts$/, "js"));
        await execa(process.execPath, [program], { cwd: folder, stdin: "ignore" });
      });
    }
    for (const command of block.language === "sh" ? commands(block) : []) {
      it(`line ${block.line}: ${command.join(" ")}`, async () => {
        const [program, ...args] = command;
        await execa(program!, args, { cwd: folder, preferLocal: true, localDir: folder, stdin: "ignore" });
      });
    }
  }
});

describe("the documents", () => {
  it.each(DOCUMENTS)("%s: every file that it links to exists", (document) => {
    const text = readFileSync(join(REPOSITORY, document), "utf8");
    const folder = join(REPOSITORY, document, "..");
    const links = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g)].map((match) => match[1]!);
    for (const link of links) expect(() => readFileSync(join(folder, link)), link).not.toThrow(/ENOENT/);
  });

  it("README.md: what its commands leave behind is a sound image", () => {
    expect(readdirSync(join(inject("consumer"), "README-md"))).toContain("vm.qcow2");
  });
});

function programName(block: CodeBlock): string {
  return `line-${block.line}.ts`;
}

/** The lines that run our command; comments are left out, and so is npm, which has tests of its own. */
function commands(block: CodeBlock): string[][] {
  const lines = block.text
    .split("\n")
    .map((line) => line.replace(/\s+#.*|^#.*/, "").trim())
    .filter((line) => line !== "" && !line.startsWith("npm "));
  return lines.map((line) => {
    // Words as a shell sees them, as far as the examples go: single quotes keep spaces.
    const quoted = line.replace(/^npx /, "").match(/'[^']*'|[^\s']+/g) ?? [];
    const words = quoted.map((word) => word.replace(/^'(.*)'$/, "$1"));
    if (words[0] !== "qcow2")
      throw new Error(`line ${block.line}: only qcow2 and npm are run in examples, not '${line}'`);
    return words;
  });
}
