import { readdir, readFile, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { describe, expect, test } from "vitest";
import { COMMAND, type Outcome, runIn, type Workspace, workspace } from "../run-command.ts";

/** Runs commands of `io`, on the image `disk` unless another one is named. */
function io(place: Workspace, commands: readonly string[], ...rest: string[]): Promise<Outcome> {
  const words = commands.flatMap((command) => ["-c", command]);
  return place.qcow2("io", ...words, ...(rest.length === 0 ? ["disk"] : rest));
}

async function withDisk(size = "64M"): Promise<Workspace> {
  const place = await workspace();
  await place.succeed("create", "-f", "qcow2", "disk", size);
  return place;
}

describe("requests in the background", () => {
  test("run beside the commands that follow, and are waited for by aio_flush", async () => {
    const place = await withDisk();
    const { exitCode, stdout } = await io(place, [
      "aio_write -P 1 0 32M",
      "length",
      "aio_flush",
      "read -q -P 1 0 32M",
      "info",
    ]);
    expect(exitCode).toBe(0);
    const lines = stdout.split("\n");
    expect(lines[0]).toBe("64 MiB");
    expect(lines[1]).toBe("wrote 33554432/33554432 bytes at offset 0");
    expect(lines[3]).toBe("format name: qcow2");
  });

  test("are done in the order of the commands where they overlap", async () => {
    const place = await withDisk();
    const writes = Array.from({ length: 30 }, (_, index) => `aio_write -q -P ${index + 1} ${index}k 64k`);
    const reads = Array.from({ length: 29 }, (_, index) => `read -q -P ${index + 1} ${index}k 1k`);
    const outcome = await io(place, [...writes, "aio_flush", ...reads, "read -q -P 30 29k 64k"]);
    expect(outcome).toMatchObject({ exitCode: 0, stdout: "", stderr: "" });
  });

  test("are waited for before the image is closed, and their failures are no failures of a command", async () => {
    const place = await withDisk("1M");
    const outcome = await io(place, ["aio_write -P 7 0 1M", "aio_read 1M 1", "aio_read -q -P 1 0 0"]);
    expect(outcome.exitCode).toBe(0);
    expect(outcome.stdout).toMatch(
      /^readv failed: Input\/output error\nwrote 1048576\/1048576 bytes at offset 0\n/,
    );
    expect(await place.succeed("io", "-r", "-c", "read -q -P 7 0 1M", "disk")).toBe("");
  });
});

describe("a temporary overlay (-s)", () => {
  test("takes what is written, and leaves neither a trace in the image nor a file", async () => {
    const place = await withDisk("1M");
    const before = await readFile(place.file("disk"));
    const temporary = async (): Promise<string[]> =>
      (await readdir(tmpdir())).filter((name) => name.startsWith("qcow2-io-"));
    const known = await temporary();
    const outcome = await io(place, ["write -q -P 7 0 1M", "read -q -P 7 0 1M"], "-s", "disk");
    expect(outcome).toMatchObject({ exitCode: 0, stdout: "", stderr: "" });
    expect(await readFile(place.file("disk"))).toEqual(before);
    expect(await temporary()).toEqual(known);
  });
});

describe("an image that is only guessed to be raw", () => {
  test("cannot be made to look like another format", async () => {
    const place = await withDisk("1M");
    await writeFile(place.file("raw"), Buffer.alloc(4096, 1));
    const before = await readFile(place.file("raw"));
    const refused = await io(place, ["write -s disk 0 4k"], "raw");
    expect(refused).toMatchObject({ exitCode: 1, stdout: "write failed: Operation not permitted\n" });
    expect(refused.stderr).toMatch(/if it is raw, say so with -f raw/);
    expect(await readFile(place.file("raw"))).toEqual(before);
    expect(await io(place, ["write -q -s disk 0 4k"], "-f", "raw", "raw")).toMatchObject({ exitCode: 0 });
  });
});

describe("a request that does not fit", () => {
  test("is refused before memory is taken for it", async () => {
    const place = await withDisk("1M");
    const started = performance.now();
    const outcome = await io(place, ["read 0 2147483136", "write 0 2147483136", "aio_write 1 2147483136"]);
    expect(outcome.stdout).toBe(
      "read failed: Input/output error\nwrite failed: Input/output error\naio_write failed: Input/output error\n",
    );
    expect(performance.now() - started).toBeLessThan(2000);
  });
});

test("a damaged image is an error of the request, told with its reason", async () => {
  const place = await withDisk("1M");
  await place.succeed("io", "-c", "write -q -P 1 0 64k", "disk");
  await truncate(place.file("disk"), 262_144);
  const outcome = await io(place, ["read 0 64k", "length"], "-r", "disk");
  expect(outcome).toMatchObject({ exitCode: 1, stdout: "read failed: Input/output error\n1 MiB\n" });
  expect(outcome.stderr).toMatch(/^qcow2: \S/);
});

test("called through a link named qemu-io it speaks as qemu-io, without a command's name", async () => {
  const { folder, file, succeed } = await withDisk("1M");
  await symlink(COMMAND, file("qemu-io"));
  const version = await runIn(folder, ["--version"], file("qemu-io"));
  expect(version.stdout).toMatch(/^qemu-io version 10\.0\.\d+ /);
  const failure = await runIn(folder, ["-c", "length", "missing"], file("qemu-io"));
  expect(failure.stderr).toBe(
    "qemu-io: can't open device missing: Could not open 'missing': No such file or directory\n",
  );
  const help = await runIn(folder, ["--help"], file("qemu-io"));
  expect(help.stdout).toMatch(/^Usage: qemu-io \[OPTIONS\]/);
  expect(await succeed("io", "--help")).toMatch(/^Usage: qcow2 io \[OPTIONS\]/);
});
