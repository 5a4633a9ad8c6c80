import { open, readdir, stat, truncate, writeFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { type Workspace, workspace } from "./run-command.ts";

/** Header fields that the tests damage (specification: "Header"). */
const BACKING_FILE_OFFSET = 8;
const SIZE = 24;
const L1_SIZE = 36;
const L1_TABLE_OFFSET = 40;
const CLUSTER_BITS = 20;
const CRYPT_METHOD = 32;
const VERSION = 4;
const INCOMPATIBLE_FEATURES = 72;

const IMAGE = "disk.qcow2";

async function patch(path: string, offset: number, bytes: readonly number[]): Promise<void> {
  const file = await open(path, "r+");
  await file.write(Uint8Array.from(bytes), 0, bytes.length, offset);
  await file.close();
}

async function imageWith(offset: number, bytes: readonly number[]): Promise<Workspace> {
  const at = await workspace();
  await at.succeed("create", "-q", "-f", "qcow2", IMAGE, "1M");
  await patch(at.file(IMAGE), offset, bytes);
  return at;
}

/** Everything that reads an image refuses it with one line that names it, and leaves no target behind. */
async function expectRefusal(at: Workspace, message: RegExp): Promise<void> {
  const before = (await readdir(at.folder)).sort();
  for (const args of [
    ["convert", "-O", "raw", IMAGE, "out.img"],
    ["map", IMAGE],
    ["measure", "-O", "qcow2", IMAGE],
  ]) {
    const outcome = await at.qcow2(...args);
    expect(outcome.stderr).toMatch(message);
    expect(outcome.stderr).toContain(IMAGE);
    expect(outcome.stderr.match(/\n/g)).toHaveLength(1);
    expect(outcome.exitCode).toBe(1);
  }
  expect((await readdir(at.folder)).sort()).toEqual(before);
}

describe("images that are refused", () => {
  test("an L1 table of 32 GiB in a small file", async () => {
    const at = await imageWith(L1_SIZE, [0xff, 0xff, 0xff, 0xff]);
    await expectRefusal(at, /L1/i);
  });

  test("tables beyond the end of the file", async () => {
    await expectRefusal(
      await imageWith(L1_TABLE_OFFSET, [0, 0, 0, 1, 0, 0, 0, 0]),
      /beyond the end|truncated|L1/i,
    );
  });

  test("an absurd size", async () => {
    await expectRefusal(
      await imageWith(SIZE, [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0]),
      /Image is too big/,
    );
  });

  test("an absurd cluster size", async () => {
    await expectRefusal(await imageWith(CLUSTER_BITS, [0, 0, 0, 63]), /cluster size/i);
  });

  test("an unknown version", async () => {
    await expectRefusal(await imageWith(VERSION, [0, 0, 0, 9]), /version 9/);
  });

  test("unknown incompatible features, as a mask", async () => {
    await expectRefusal(
      await imageWith(INCOMPATIBLE_FEATURES, [0, 0, 1, 0, 0, 0, 0, 0]),
      /Unknown incompatible feature: 10000000000\n/,
    );
  });

  test("encryption", async () => {
    await expectRefusal(await imageWith(CRYPT_METHOD, [0, 0, 0, 1]), /encrypt/i);
  });

  test("a truncated header", async () => {
    const at = await imageWith(0, []);
    await truncate(at.file(IMAGE), 60);
    await expectRefusal(at, /truncated|header/i);
  });

  test("a backing file name that lies beyond the end", async () => {
    const at = await imageWith(BACKING_FILE_OFFSET, [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9]);
    await expectRefusal(at, /backing/i);
  });
});

describe("backing chains", () => {
  test("that loop are refused at once, by every command that follows them", async () => {
    const at = await workspace();
    await at.succeed("create", "-q", "-f", "qcow2", "-u", "-b", "b.qcow2", "-F", "qcow2", IMAGE, "1M");
    await at.succeed("create", "-q", "-f", "qcow2", "-u", "-b", IMAGE, "-F", "qcow2", "b.qcow2", "1M");
    for (const args of [
      ["map", IMAGE],
      ["info", "--backing-chain", IMAGE],
      ["convert", IMAGE, "out.img"],
    ]) {
      const outcome = await at.qcow2(...args);
      expect(outcome.stderr).toMatch(/loop|already part of its own chain/);
      expect(outcome.stderr.match(/\n/g)).toHaveLength(1);
      expect(outcome.exitCode).toBe(1);
    }
    expect((await at.qcow2("info", IMAGE)).exitCode).toBe(0);
    expect((await readdir(at.folder)).sort()).toEqual(["b.qcow2", IMAGE]);
  });

  test("with a missing file are refused with its name", async () => {
    const at = await workspace();
    await at.succeed("create", "-q", "-f", "qcow2", "-u", "-b", "gone.img", "-F", "raw", IMAGE, "1M");
    const outcome = await at.qcow2("convert", IMAGE, "out.img");
    expect(outcome).toMatchObject({ exitCode: 1, stdout: "" });
    expect(outcome.stderr).toMatch(/disk\.qcow2.*gone\.img.*No such file or directory/);
    expect(await readdir(at.folder)).toEqual([IMAGE]);
  });

  test("are not replaced by an image that needs them", async () => {
    const at = await workspace();
    await writeFile(at.file("base.img"), Buffer.alloc(65536, "x"));
    await at.succeed("create", "-q", "-f", "qcow2", "-b", "base.img", "-F", "raw", IMAGE);
    for (const args of [
      ["convert", "-O", "raw", IMAGE, "base.img"],
      ["create", "-f", "qcow2", "-b", IMAGE, "-F", "qcow2", "./base.img"],
      ["convert", "-n", "-O", "raw", IMAGE, "base.img"],
    ]) {
      const outcome = await at.qcow2(...args);
      expect(outcome.exitCode).toBe(1);
      expect(outcome.stderr).toMatch(/base\.img/);
    }
    expect((await stat(at.file("base.img"))).size).toBe(65536);
    expect(await at.succeed("compare", "-f", "qcow2", "-F", "raw", IMAGE, "base.img")).toBe(
      "Images are identical.\n",
    );
  });

  test("named with a protocol inside an image are not followed", async () => {
    const at = await workspace();
    for (const name of ["nbd://127.0.0.1:1/x", 'json:{"driver":"file","filename":"/etc/passwd"}']) {
      const created = await at.qcow2(
        "create",
        "-q",
        "-f",
        "qcow2",
        "-u",
        "-b",
        name,
        "-F",
        "raw",
        IMAGE,
        "1M",
      );
      if (created.exitCode !== 0) continue;
      const outcome = await at.qcow2("map", IMAGE);
      expect(outcome.exitCode).toBe(1);
      expect(outcome.stderr.match(/\n/g)).toHaveLength(1);
    }
  });
});

test("control characters out of an image do not reach the terminal through stderr", async () => {
  const at = await workspace();
  const name = "\u001b[31mred\nline";
  await at.succeed("create", "-q", "-f", "qcow2", "-u", "-b", name, "-F", "raw", IMAGE, "1M");
  const outcome = await at.qcow2("map", IMAGE);
  expect(outcome.exitCode).toBe(1);
  expect(outcome.stderr).toContain("\\x1b[31mred\\x0aline");
  expect(outcome.stderr).not.toContain("\u001b");
});
