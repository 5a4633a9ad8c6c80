import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { openDisk } from "@qcow2/node";
import { execa } from "execa";
import { describe, expect, test } from "vitest";
import { COMMAND, runIn, type Workspace, workspace } from "./run-command.ts";

const MEGABYTE = 2 ** 20;

/** An overlay with data from its start on, over a raw base that is filled with "b". */
async function chain(megabytes = 1): Promise<Workspace> {
  const at = await workspace();
  await mkdir(at.file("bases"));
  await writeFile(at.file("bases/base.img"), Buffer.alloc(megabytes * MEGABYTE, "b"));
  await at.succeed("create", "-q", "-fqcow2", "-b", "bases/base.img", "-Fraw", "top.qcow2");
  const disk = await openDisk({ path: at.file("top.qcow2") });
  await disk.write({ offset: 0, from: Buffer.alloc((megabytes * MEGABYTE) / 2, "t") });
  await disk.close();
  return at;
}

function committed(megabytes: number): Buffer {
  const half = (megabytes * MEGABYTE) / 2;
  return Buffer.concat([Buffer.alloc(half, "t"), Buffer.alloc(half, "b")]);
}

test("writes into the backing file, and empties the overlay, which reads as before", async () => {
  const at = await chain();
  expect(await at.succeed("commit", "top.qcow2")).toBe("Image committed.\n");
  expect((await readFile(at.file("bases/base.img"))).equals(committed(1))).toBe(true);
  expect(await at.succeed("compare", "top.qcow2", "bases/base.img")).toBe("Images are identical.\n");
  expect((await readFile(at.file("top.qcow2"))).length).toBeLessThan(5 * 65536);
  expect(await at.succeed("commit", "-q", "top.qcow2")).toBe("");
});

describe("other images on the backing file", () => {
  test("are looked for beside both, named, and spared", async () => {
    const at = await chain();
    const overlay = ["create", "-q", "-fqcow2", "-Fraw"];
    await at.succeed(...overlay, "-b", at.file("bases/base.img"), "same folder.qcow2");
    await at.succeed(...overlay, "-b", "./base.img", "bases/other.qcow2");
    await at.succeed(...overlay, "-b", "bases/base.img", "top.qcow2.copy");
    await at.succeed("create", "-q", "-fqcow2", "alone.qcow2", "1M");
    await writeFile(at.file("bases/notes.txt"), "nothing of interest");
    const outcome = await at.qcow2("commit", "top.qcow2");
    expect(outcome).toMatchObject({ exitCode: 1, stdout: "" });
    for (const name of ["same folder.qcow2", "bases/other.qcow2", "top.qcow2.copy"]) {
      expect(outcome.stderr).toContain(`'${name}'`);
    }
    expect(outcome.stderr).not.toContain("alone");
    expect(outcome.stderr.match(/\n/g)).toHaveLength(1);
    expect((await readFile(at.file("bases/base.img"))).equals(Buffer.alloc(MEGABYTE, "b"))).toBe(true);

    expect(await at.succeed("commit", "--force", "top.qcow2")).toBe("Image committed.\n");
    expect((await readFile(at.file("bases/base.img"))).equals(committed(1))).toBe(true);
  });

  test("are those of the layers in between, too", async () => {
    const at = await chain();
    await at.succeed("create", "-q", "-fqcow2", "-b", "top.qcow2", "-Fqcow2", "upper.qcow2");
    expect((await at.qcow2("commit", "upper.qcow2")).exitCode).toBe(0);
    await at.succeed("create", "-q", "-fqcow2", "-b", "top.qcow2", "-Fqcow2", "sibling.qcow2");
    const outcome = await at.qcow2("commit", "-b", "bases/base.img", "upper.qcow2");
    expect(outcome.exitCode).toBe(1);
    expect(outcome.stderr).toContain("'sibling.qcow2'");
  });
});

test.skipIf(process.platform === "win32")(
  "a backing file that somebody else writes to is refused",
  async () => {
    const at = await chain();
    const before = await readFile(at.file("top.qcow2"));
    await using base = await openDisk({ path: at.file("bases/base.img"), format: "raw" });
    const outcome = await at.qcow2("commit", "top.qcow2");
    expect(outcome).toMatchObject({ exitCode: 1, stdout: "" });
    expect(outcome.stderr).toMatch(
      /Failed to get .* lock\nIs another process using the image \[.*base\.img\]\?\n/,
    );
    expect((await readFile(at.file("top.qcow2"))).equals(before)).toBe(true);
    expect(base.size).toBe(MEGABYTE);
  },
);

test.skipIf(process.platform === "win32")(
  "stopped by a signal, the overlay is what it was, and can be committed again",
  async () => {
    const at = await chain(8);
    const before = await readFile(at.file("top.qcow2"));
    const running = execa(process.execPath, [COMMAND, "commit", "-r", "1M", "top.qcow2"], {
      cwd: at.folder,
      reject: false,
    });
    while ((await readFile(at.file("bases/base.img")))[0] !== "t".charCodeAt(0)) await sleep(25);
    running.kill("SIGINT");
    expect((await running).signal).toBe("SIGINT");
    expect((await readFile(at.file("top.qcow2"))).equals(before)).toBe(true);
    expect((await readFile(at.file("bases/base.img"))).equals(committed(8))).toBe(false);
    await at.succeed("commit", "top.qcow2");
    expect((await readFile(at.file("bases/base.img"))).equals(committed(8))).toBe(true);
  },
);

test("a guest does not make a base that was guessed to be raw into an image that names files of the host", async () => {
  const at = await workspace();
  await writeFile(at.file("base.img"), Buffer.alloc(MEGABYTE, "b"));
  await at.succeed("create", "-q", "-fqcow2", "-b", "base.img", "-Fraw", "top.qcow2");
  const disk = await openDisk({ path: at.file("top.qcow2") });
  await at.succeed("create", "-q", "-fqcow2", "-b", "/etc/passwd", "-Fraw", "trap.qcow2");
  await disk.write({ offset: 0, from: await readFile(at.file("trap.qcow2")) });
  await disk.close();
  await forgetBackingFormat(at.file("top.qcow2"));
  const before = await readFile(at.file("base.img"));
  await symlink(COMMAND, at.file("qemu-img"));
  const outcome = await runIn(at.folder, ["commit", "top.qcow2"], at.file("qemu-img"));
  expect(outcome).toMatchObject({ exitCode: 1 });
  expect(outcome.stderr).toContain("only guessed");
  expect((await readFile(at.file("base.img"))).equals(before)).toBe(true);
});

/** Makes the header extension with the backing file's format one that nobody knows. */
async function forgetBackingFormat(path: string): Promise<void> {
  const bytes = await readFile(path);
  const at = bytes.indexOf(Buffer.of(0xe2, 0x79, 0x2a, 0xca));
  bytes.writeUInt32BE(0x01234567, at);
  await writeFile(path, bytes);
}
