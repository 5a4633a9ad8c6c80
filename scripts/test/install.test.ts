import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isInstalled } from "../lib/install.mjs";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "qcow2-scripts-"));
  mkdirSync(join(folder, "node_modules"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const PACKAGES = {
  "": { name: "root" },
  "packages/core": { version: "0.0.0" },
  "node_modules/@qcow2/core": { resolved: "packages/core", link: true },
  "node_modules/execa": { version: "9.6.1", integrity: "sha512-a" },
  "node_modules/koffi-for-another-system": { version: "1.0.0", integrity: "sha512-b", optional: true },
};

function write(file: string, packages: object): void {
  writeFileSync(join(folder, file), JSON.stringify({ lockfileVersion: 3, packages }));
}

describe("isInstalled", () => {
  const { "node_modules/koffi-for-another-system": _, ...installed } = PACKAGES;

  it("is true if npm's record agrees, whatever is only for other systems", () => {
    write("package-lock.json", PACKAGES);
    write("node_modules/.package-lock.json", installed);
    expect(isInstalled(folder)).toBe(true);
  });

  it("takes a new version of one of our own packages for what it is: no reason to install", () => {
    write("package-lock.json", { ...PACKAGES, "packages/core": { version: "0.1.0" } });
    write("node_modules/.package-lock.json", installed);
    expect(isInstalled(folder)).toBe(true);
  });

  it.each([
    ["nothing is installed", undefined],
    ["a package is missing", { "packages/core": {}, "node_modules/@qcow2/core": {} }],
    [
      "a package has another version",
      { ...installed, "node_modules/execa": { version: "9.6.0", integrity: "sha512-a" } },
    ],
    [
      "a package has other content",
      { ...installed, "node_modules/execa": { version: "9.6.1", integrity: "sha512-c" } },
    ],
    ["a workspace is new", { ...installed, "node_modules/@qcow2/core": undefined }],
  ])("is false if %s", (_, packages) => {
    write("package-lock.json", PACKAGES);
    if (packages !== undefined) write("node_modules/.package-lock.json", packages);
    expect(isInstalled(folder)).toBe(false);
  });
});
