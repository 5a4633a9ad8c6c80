import { open, symlink } from "node:fs/promises";
import { stripVTControlCharacters } from "node:util";
import { describe, expect, test } from "vitest";
import { COMMAND, runIn, runOnTerminal, type Workspace, whyNoTerminal, workspace } from "./run-command.ts";

const ESCAPE = "\u001b[";
const GREEN = `${ESCAPE}32m`;
const RED = `${ESCAPE}31m`;
const YELLOW = `${ESCAPE}33m`;

async function imageWithEverything(): Promise<Workspace> {
  const at = await workspace();
  await at.succeed("create", "-q", "-f", "qcow2", "base.qcow2", "1G");
  await at.succeed("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "disk.qcow2");
  await at.succeed("snapshot", "-c", "one", "disk.qcow2");
  await at.succeed("bitmap", "--add", "disk.qcow2", "changes");
  return at;
}

async function setFeatures(at: Workspace, name: string, features: number): Promise<void> {
  const file = await open(at.file(name), "r+");
  await file.write(Uint8Array.of(features), 0, 1, 79);
  await file.close();
}

const noTerminal = await whyNoTerminal();
const title = noTerminal === undefined ? "" : ` (${noTerminal})`;

describe.skipIf(noTerminal !== undefined)(`info on a terminal${title}`, () => {
  test("is the plain text with colours and units", async () => {
    const at = await imageWithEverything();
    const plain = (await at.start("info", "--backing-chain", "disk.qcow2")).stdout;
    expect(plain).not.toContain(ESCAPE);
    const shown = (await runOnTerminal(at.folder, ["info", "--backing-chain", "disk.qcow2"])).stdout;
    expect(shown).toContain(`${ESCAPE}1mdisk.qcow2${ESCAPE}22m\n`);
    const withoutMore = stripVTControlCharacters(shown)
      .replace(/ \(\d+% of the virtual size\)| \(<1% of the virtual size\)/g, "")
      .replaceAll(/^( *(?:cluster_size|granularity): )64 KiB \(65536 bytes\)$/gm, "$165536");
    expect(withoutMore).toBe(plain);
    expect(shown.match(/of the virtual size/g)).toHaveLength(2);
    expect(shown.match(/64 KiB \(65536 bytes\)/g)).toHaveLength(3);
  });

  test("makes marks of damage stand out", async () => {
    const at = await imageWithEverything();
    await setFeatures(at, "disk.qcow2", 3);
    const { stdout } = await runOnTerminal(at.folder, ["info", "disk.qcow2"]);
    expect(stdout).toContain(`${YELLOW}no${ESCAPE}39m`);
    expect(stdout).toContain(`${RED}true${ESCAPE}39m`);
  });

  test("shows control characters in names instead of sending them", async () => {
    const at = await workspace();
    const name = "\u001b[31mred";
    await at.succeed("create", "-q", "-f", "qcow2", "-u", "-b", name, "-F", "qcow2", "disk.qcow2", "1M");
    const { stdout } = await runOnTerminal(at.folder, ["info", "disk.qcow2"]);
    expect(stdout).toContain("\\x1b[31mred");
    expect(stdout).not.toContain(name);
  });

  test("has no colours if the environment says so, and is still for people", async () => {
    const at = await imageWithEverything();
    for (const env of [{ NO_COLOR: "1" }, { TERM: "dumb" }]) {
      const { stdout } = await runOnTerminal(at.folder, ["info", "disk.qcow2"], { env });
      expect(stdout).not.toContain(ESCAPE);
      expect(stdout).toContain("cluster_size: 64 KiB (65536 bytes)\n");
    }
  });

  test("is the plain text as qemu-img, and JSON is JSON", async () => {
    const at = await imageWithEverything();
    await symlink(COMMAND, at.file("qemu-img"));
    for (const args of [
      ["info", "disk.qcow2"],
      ["check", "disk.qcow2"],
    ]) {
      const { stdout } = await runOnTerminal(at.folder, args, { command: at.file("qemu-img") });
      expect(stdout).toBe((await runIn(at.folder, args)).stdout);
    }
    const json = ["info", "--output=json", "disk.qcow2"];
    expect((await runOnTerminal(at.folder, json)).stdout).toBe((await at.start(...json)).stdout);
  });
});

describe.skipIf(noTerminal !== undefined)(`check on a terminal${title}`, () => {
  test("is the plain text in colours that say how it is", async () => {
    const at = await imageWithEverything();
    const good = await runOnTerminal(at.folder, ["check", "disk.qcow2"]);
    expect(good.stdout).toContain(`${GREEN}No errors were found`);
    expect(stripVTControlCharacters(good.stdout)).toBe((await at.start("check", "disk.qcow2")).stdout);
    const file = await open(at.file("base.qcow2"), "r+");
    await file.write(Uint8Array.of(0, 0), 0, 2, 2 * 65536);
    await file.close();
    const bad = await runOnTerminal(at.folder, ["check", "base.qcow2"]);
    expect(bad.exitCode).toBe(2);
    expect(bad.stdout).toMatch(/1 errors were found on the image\./);
    expect(bad.stdout).toContain(RED);
  });
});
