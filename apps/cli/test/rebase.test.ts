import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { openDisk } from "@qcow2/node";
import { expect, test } from "vitest";
import { type Workspace, workspace } from "./run-command.ts";

const MEGABYTE = 2 ** 20;

/** An overlay with data in its middle, over a raw base that is filled with "b"; another is filled with "n". */
async function chain(): Promise<Workspace> {
  const at = await workspace();
  await writeFile(at.file("base.img"), Buffer.alloc(MEGABYTE, "b"));
  await writeFile(at.file("new.img"), Buffer.alloc(MEGABYTE, "n"));
  await at.succeed("create", "-q", "-fqcow2", "-b", "base.img", "-Fraw", "top.qcow2");
  const disk = await openDisk({ path: at.file("top.qcow2") });
  await disk.write({ offset: 2 ** 18, from: Buffer.alloc(2 ** 18, "t") });
  await disk.close();
  await at.succeed("convert", "top.qcow2", "before.img");
  return at;
}

test("the overlay reads the same over another backing file, and needs the old one no more", async () => {
  const at = await chain();
  expect(await at.succeed("rebase", "-b", "new.img", "-Fraw", "top.qcow2")).toBe("");
  await rename(at.file("base.img"), at.file("gone.img"));
  expect(await at.succeed("compare", "top.qcow2", "before.img")).toBe("Images are identical.\n");
  expect(await at.succeed("info", "top.qcow2")).toMatch(/^backing file: new\.img$/m);
});

test('with -b "" it stands alone', async () => {
  const at = await chain();
  await at.succeed("rebase", "-b", "", "top.qcow2");
  await rename(at.file("base.img"), at.file("gone.img"));
  expect(await at.succeed("compare", "top.qcow2", "before.img")).toBe("Images are identical.\n");
  expect(await at.succeed("info", "top.qcow2")).not.toMatch(/backing file/);
});

test("-u records a name without a look at any backing file", async () => {
  const at = await chain();
  await mkdir(at.file("moved"));
  await rename(at.file("base.img"), at.file("moved/base.img"));
  expect((await at.qcow2("rebase", "-b", "moved/base.img", "-Fraw", "top.qcow2")).exitCode).toBe(1);
  await at.succeed("rebase", "-u", "-b", "moved/base.img", "-F", "raw", "top.qcow2");
  expect(await at.succeed("compare", "top.qcow2", "before.img")).toBe("Images are identical.\n");
});

test.each([
  [["-b", "top.qcow2", "-Fqcow2", "top.qcow2"], /would come back to 'top\.qcow2'/],
  [["-u", "-b", "./top.qcow2", "-Fqcow2", "top.qcow2"], /would come back to 'top\.qcow2'/],
  [["-b", "new.img", "top.qcow2"], /'new\.img': backing format must be specified/],
  [["-b", "new.img", "-Fvmdk", "top.qcow2"], /Could not open new backing file 'new\.img'/],
  [["-b", "nbd://host/new", "-Fraw", "top.qcow2"], /Could not open new backing file/],
  [["-fraw", "-u", "-b", "base.img", "-Fraw", "new.img"], /Operation not supported/],
  [["-u", "-b", "x".repeat(1024), "-Fraw", "top.qcow2"], /Could not change the backing file/],
])("refused, and nothing is changed: %j", async (args, message) => {
  const at = await chain();
  const before = await readFile(at.file("top.qcow2"));
  const outcome = await at.qcow2("rebase", ...args);
  expect(outcome).toMatchObject({ exitCode: 1, stdout: "" });
  expect(outcome.stderr).toMatch(message);
  expect(outcome.stderr.match(/\n/g)).toHaveLength(1);
  expect((await readFile(at.file("top.qcow2"))).equals(before)).toBe(true);
});
