/** Snapshots of which an image has two with one id, as damaged or edited images do: the named one is taken. */
import { readFile, writeFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { type Workspace, workspace } from "./run-command.ts";

/** Snapshots "one", "two" and "three", which hold 1, 2 and 3; the ids are 1, 2 and 1. */
async function withIdTwice(): Promise<Workspace> {
  const at = await workspace();
  await at.succeed("create", "-q", "-f", "qcow2", "a.qcow2", "1M");
  for (const [index, name] of ["one", "two", "three"].entries()) {
    await at.succeed("io", "-c", `write -P ${index + 1} 0 64k`, "a.qcow2");
    await at.succeed("snapshot", "-c", name, "a.qcow2");
  }
  const image = await readFile(at.file("a.qcow2"));
  const idAndName = image.indexOf("3three");
  expect(idAndName).toBeGreaterThan(0);
  image.write("1", idAndName, "latin1");
  await writeFile(at.file("a.qcow2"), image);
  return at;
}

test("convert and measure read the snapshot that is named", async () => {
  const at = await withIdTwice();
  for (const [selector, content] of [
    ["one", 1],
    ["three", 3],
    ["snapshot.name=three", 3],
    ["snapshot.id=1,snapshot.name=three", 3],
    ["snapshot.id=2", 2],
  ] as const) {
    await at.succeed("convert", "-l", selector, "-O", "raw", "a.qcow2", "out.raw");
    expect((await readFile(at.file("out.raw")))[0], selector).toBe(content);
    await at.succeed("measure", "-l", selector, "-O", "qcow2", "a.qcow2");
  }
});

test("what could be either is refused, by id as by name", async () => {
  const at = await withIdTwice();
  for (const selector of ["1", "snapshot.id=1"]) {
    for (const args of [
      ["convert", "-l", selector, "a.qcow2", "out.raw"],
      ["snapshot", "-a", selector, "a.qcow2"],
    ]) {
      const { exitCode, stderr } = await at.qcow2(...args);
      expect(exitCode, args.join(" ")).toBe(1);
      expect(stderr).toContain("'1' is ambiguous: it could be snapshot 1 ('one') or snapshot 1 ('three')");
    }
  }
});
