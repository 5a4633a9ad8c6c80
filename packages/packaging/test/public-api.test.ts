import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, inject, it } from "vitest";
import { type Manifest, PUBLISHED_PACKAGES } from "../src/published-packages.ts";

const consumer = inject("consumer");

/** Names that an index file exports; index files are nothing but `export { ... } from` statements. */
function exportedNames(declarations: string): { values: string[]; types: string[]; rest: string } {
  const values: string[] = [];
  const types: string[] = [];
  const rest = declarations.replaceAll(/export (type )?\{([^}]*)\} from "[^"]+";/g, (_, allTypes, list) => {
    for (const item of (list as string)
      .split(",")
      .map((text) => text.trim())
      .filter((text) => text !== "")) {
      const isType = allTypes !== undefined || item.startsWith("type ");
      const name = item.replace(/^type /, "").replace(/^\w+ as /, "");
      (isType ? types : values).push(name);
    }
    return "";
  });
  return {
    values: values.sort(),
    types: types.sort(),
    rest: rest.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, "").trim(),
  };
}

describe.each(PUBLISHED_PACKAGES)("$name", ({ name }) => {
  const root = join(consumer, "node_modules", name);
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Manifest;

  it("has the entries, and each the export names, that are written down; changing them is a decision", async () => {
    const lines: string[] = [];
    for (const [entry, target] of Object.entries(manifest.exports ?? {})) {
      lines.push(entry);
      if (typeof target === "string") continue;
      const { values, types, rest } = exportedNames(readFileSync(join(root, target.types!), "utf8"));
      expect(rest, "an index file holds only re-exports").toBe("");
      const module = (await import(pathToFileURL(join(root, target.default)).href)) as object;
      expect(Object.keys(module).sort(), "what is declared is what is there").toEqual(values);
      lines.push(...values.map((value) => `  ${value}`), ...types.map((type) => `  type ${type}`));
    }
    await expect(`${lines.join("\n")}\n`).toMatchFileSnapshot(
      `./api/${name.replace("@", "").replace("/", "-")}.txt`,
    );
  });
});
