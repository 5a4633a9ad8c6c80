import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { describe, expect, inject, it } from "vitest";
import { type Manifest, PUBLISHED_PACKAGES, REPOSITORY } from "../src/published-packages.ts";

const tarballs = inject("tarballs");

describe.each(PUBLISHED_PACKAGES)("the tarball of $name", ({ name, folder, isBundle }) => {
  const tarball = tarballs.find((item) => item.name === name)!;
  const manifest = JSON.parse(readFileSync(join(REPOSITORY, folder, "package.json"), "utf8")) as Manifest;

  it("holds the build of today's sources and the usual files, nothing else", () => {
    const beside = tarball.files.filter((file) => !file.startsWith("dist/"));
    const bins = Object.values(manifest.bin ?? {}).map((file) => file.replace(/^\.\//, ""));
    expect(beside).toEqual(["LICENSE", "README.md", ...bins, "package.json"].sort());
    const manual = (manifest.man ?? []).map((page) => page.replace(/^\.\//, ""));
    expect(tarball.files).toEqual(expect.arrayContaining(manual));
    for (const file of tarball.files.filter((path) => path.startsWith("dist/") && !manual.includes(path))) {
      if (isBundle === true) {
        expect(file).toMatch(/^dist\/(THIRD-PARTY-NOTICES\.txt|[\w-]+\.cjs)$/);
        continue;
      }
      const source = file.replace(/^dist\//, "src/").replace(/\.(d\.ts|js|js\.map)$/, ".ts");
      expect(existsSync(join(REPOSITORY, folder, source)), `${file} has no source: stale output?`).toBe(true);
      expect(file).not.toMatch(/test/);
    }
  });

  it("passes publint", async () => {
    const { messages } = await publint({
      pack: { tarball: new Uint8Array(readFileSync(tarball.path)).buffer },
      strict: true,
    });
    expect(messages.map((message) => formatMessage(message, manifest, { color: false }))).toEqual([]);
  });

  it("says what it needs: Node.js, and exactly the other packages' version it was tested with", () => {
    expect(manifest.license).toBe("MIT");
    expect(manifest.private).toBeUndefined();
    expect(manifest.engines).toEqual({ node: ">=20.19" });
    for (const [dependency, range] of Object.entries(manifest.dependencies ?? {})) {
      if (PUBLISHED_PACKAGES.some((item) => item.name === dependency))
        expect(range, dependency).toBe(manifest.version);
    }
  });
});

it("the core depends on nothing, and the command on nothing but the optional koffi", () => {
  const [core, node, command] = ["packages/core", "packages/node", "apps/cli"].map(
    (folder) => JSON.parse(readFileSync(join(REPOSITORY, folder, "package.json"), "utf8")) as Manifest,
  );
  expect({ ...core?.dependencies, ...core?.optionalDependencies }).toEqual({});
  expect(command?.dependencies ?? {}).toEqual({});
  expect(command?.optionalDependencies).toEqual(node?.optionalDependencies);
});
