import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import { describe, expect, onTestFinished, test } from "vitest";
import { COMMAND, type Workspace, workspace } from "./run-command.ts";

/** A raw disk with data, zeroes and a length that is no multiple of a cluster. */
async function rawDisk(at: Workspace, name: string, megabytes: number): Promise<Buffer> {
  const bytes = Buffer.alloc(megabytes * 2 ** 20 + 512 * 3);
  for (let offset = 0; offset < bytes.length; offset += 2 ** 20) {
    bytes.fill(`block ${offset} `, offset, Math.min(offset + 300_000, bytes.length));
  }
  await writeFile(at.file(name), bytes);
  return bytes;
}

describe("convert", () => {
  test.each([
    [["-O", "qcow2"]],
    [["-c", "-O", "qcow2"]],
    [["-W", "-m1", "-S", "64k", "-Oqcow2", "-ocluster_size=4k"]],
  ])("%j goes to qcow2 and back without a difference", async (options) => {
    const at = await workspace();
    const bytes = await rawDisk(at, "a.img", 3);
    expect(await at.succeed("convert", ...options, "a.img", "b.qcow2")).toBe("");
    expect(await at.succeed("compare", "a.img", "b.qcow2")).toBe("Images are identical.\n");
    expect(await at.succeed("check", "-q", "b.qcow2")).toBe("");
    await at.succeed("convert", "b.qcow2", "c.img");
    expect((await readFile(at.file("c.img"))).equals(bytes)).toBe(true);
    expect((await stat(at.file("c.img"))).mode & 0o777).toBe((await stat(at.file("a.img"))).mode & 0o777);
  });

  test("--level trades time for size, and makes the same bytes with any number of threads", async () => {
    const at = await workspace();
    const bytes = await rawDisk(at, "a.img", 2);
    for (let offset = 0; offset < bytes.length; offset += 40) {
      bytes.writeUInt32LE((offset * 2654435761) >>> 0, offset);
    }
    await writeFile(at.file("a.img"), bytes);
    const sizes: number[] = [];
    for (const level of ["1", "9"]) {
      const images: Buffer[] = [];
      for (const parallel of ["1", "16"]) {
        const name = `${level}-${parallel}.qcow2`;
        await at.succeed("convert", "-c", "--level", level, "-m", parallel, "-O", "qcow2", "a.img", name);
        expect(await at.succeed("compare", "a.img", name)).toBe("Images are identical.\n");
        images.push(await readFile(at.file(name)));
      }
      expect(images[0]!.equals(images[1]!)).toBe(true);
      sizes.push(images[0]!.length);
    }
    expect(sizes[0]).toBeGreaterThan(sizes[1]!);
  });

  test.each([
    [["--level", "5"], "--level needs -c"],
    [["-c", "--level", "0"], "Invalid compression level '0': 1 to 9, with zstd to 22"],
    [["-c", "--level", "fast"], "Invalid compression level 'fast': 1 to 9, with zstd to 22"],
    [["-c", "--level", "10"], "The compression levels of zlib are 1 to 9"],
  ])("%j is refused, and nothing made", async (options, message) => {
    const at = await workspace();
    await rawDisk(at, "a.img", 1);
    const outcome = await at.qcow2("convert", ...options, "-O", "qcow2", "a.img", "b.qcow2");
    expect(outcome).toMatchObject({ exitCode: 1, stderr: `qcow2: ${message}\n` });
    expect(await readdir(at.folder)).toEqual(["a.img"]);
  });

  test("puts several sources one after the other", async () => {
    const at = await workspace();
    const [first, second] = [await rawDisk(at, "a.img", 1), await rawDisk(at, "b.img", 2)];
    await at.succeed("convert", "-Oqcow2", "a.img", "b.img", "both.qcow2");
    await at.succeed("convert", "both.qcow2", "both.img");
    expect((await readFile(at.file("both.img"))).equals(Buffer.concat([first, second]))).toBe(true);
  });

  test("-n writes into an image that is there, and not if that is smaller", async () => {
    const at = await workspace();
    await rawDisk(at, "a.img", 1);
    await at.succeed("create", "-q", "-f", "qcow2", "b.qcow2", "4M");
    await at.succeed("convert", "-n", "-O", "qcow2", "a.img", "b.qcow2");
    expect((await at.qcow2("compare", "a.img", "b.qcow2")).stdout).toBe(
      "Warning: Image size mismatch!\nImages are identical.\n",
    );
    await at.succeed("create", "-q", "-f", "qcow2", "small.qcow2", "1M");
    const outcome = await at.qcow2("convert", "-n", "-O", "qcow2", "a.img", "small.qcow2");
    expect(outcome).toMatchObject({ exitCode: 1, stderr: "qcow2: output file is smaller than input file\n" });
  });

  test("-B copies only what the backing file does not have", async () => {
    const at = await workspace();
    await rawDisk(at, "base.img", 2);
    await at.succeed("create", "-q", "-f", "qcow2", "-b", "base.img", "-F", "raw", "overlay.qcow2");
    await at.succeed("convert", "-O", "qcow2", "-B", "base.img", "-F", "raw", "overlay.qcow2", "copy.qcow2");
    expect((await stat(at.file("copy.qcow2"))).size).toBeLessThan(400_000);
    expect(await at.succeed("compare", "base.img", "copy.qcow2")).toBe("Images are identical.\n");
  });

  test("replaces a target only when the copy is complete", async () => {
    const at = await workspace();
    await rawDisk(at, "a.img", 1);
    await writeFile(at.file("b.qcow2"), "precious");
    await at.succeed("create", "-q", "-f", "qcow2", "-u", "-b", "gone", "-F", "raw", "bad.qcow2", "1M");
    expect((await at.qcow2("convert", "-O", "qcow2", "bad.qcow2", "b.qcow2")).exitCode).toBe(1);
    expect(await readFile(at.file("b.qcow2"), "utf8")).toBe("precious");
    await at.succeed("convert", "-O", "qcow2", "a.img", "b.qcow2");
    expect(await at.succeed("compare", "a.img", "b.qcow2")).toBe("Images are identical.\n");
    expect((await readdir(at.folder)).sort()).toEqual(["a.img", "b.qcow2", "bad.qcow2"]);
  });

  test("-p without a terminal prints what qemu-img prints", async () => {
    const at = await workspace();
    await rawDisk(at, "a.img", 3);
    const { stdout } = await at.start("convert", "-p", "-O", "qcow2", "a.img", "b.qcow2");
    expect(stdout).toMatch(/^ {4}\(0\.00\/100%\)\r( {4}\(\d+\.\d\d\/100%\)\r)* {4}\(100\.00\/100%\)\r\n$/);
    expect((await at.start("convert", "-pq", "-O", "qcow2", "a.img", "c.qcow2")).stdout).toBe("");
  });
});

describe("compare", () => {
  test("tells where the first difference is", async () => {
    const at = await workspace();
    const bytes = await rawDisk(at, "a.img", 1);
    bytes[200_000] = 0;
    await writeFile(at.file("b.img"), bytes);
    expect(await at.qcow2("compare", "a.img", "b.img")).toMatchObject({
      exitCode: 1,
      stdout: `Content mismatch at offset ${Math.floor(200_000 / 512) * 512}!\n`,
      stderr: "",
    });
    expect(await at.qcow2("compare", "-q", "a.img", "b.img")).toMatchObject({ exitCode: 1, stdout: "" });
    expect((await at.qcow2("compare", "a.img", "missing")).exitCode).toBe(2);
  });

  test("-s wants equal sizes", async () => {
    const at = await workspace();
    await at.succeed("create", "-q", "a.img", "1M");
    await at.succeed("create", "-q", "b.img", "2M");
    expect(await at.qcow2("compare", "-s", "a.img", "b.img")).toMatchObject({
      exitCode: 1,
      stdout: "Strict mode: Image size mismatch!\n",
    });
  });
});

describe("check", () => {
  test("has nothing to check in a raw image", async () => {
    const at = await workspace();
    await at.succeed("create", "-q", "a.img", "1M");
    expect(await at.qcow2("check", "a.img")).toMatchObject({
      exitCode: 63,
      stderr: "qcow2: This image format does not support checks\n",
    });
  });

  test("repairs nothing where nothing is wrong", async () => {
    const at = await workspace();
    await at.succeed("create", "-q", "-f", "qcow2", "a.qcow2", "1M");
    const before = await readFile(at.file("a.qcow2"));
    expect((await at.qcow2("check", "-r", "all", "a.qcow2")).exitCode).toBe(0);
    expect((await readFile(at.file("a.qcow2"))).equals(before)).toBe(true);
  });
});

describe.skipIf(process.platform === "win32")("signals", () => {
  test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)(
    "%s ends a conversion by itself, and nothing is left behind",
    async (signal) => {
      const at = await workspace();
      await rawDisk(at, "a.img", 8);
      await writeFile(at.file("b.qcow2"), "precious");
      const running = execa(
        process.execPath,
        [COMMAND, "convert", "-r", "1M", "-Oqcow2", "a.img", "b.qcow2"],
        {
          cwd: at.folder,
          reject: false,
        },
      );
      await temporaryFile(at);
      running.kill(signal);
      expect((await running).signal).toBe(signal);
      expect((await readdir(at.folder)).sort()).toEqual(["a.img", "b.qcow2"]);
      expect(await readFile(at.file("b.qcow2"), "utf8")).toBe("precious");
    },
  );

  test("SIGUSR1 asks for the progress", async () => {
    const at = await workspace();
    await rawDisk(at, "a.img", 3);
    const running = execa(process.execPath, [COMMAND, "convert", "-r", "1M", "-Oqcow2", "a.img", "b.qcow2"], {
      cwd: at.folder,
      reject: false,
    });
    await temporaryFile(at);
    running.kill("SIGUSR1");
    const { stderr, exitCode } = await running;
    expect(exitCode).toBe(0);
    expect(stderr).toMatch(/^ {4}\(\d+\.\d\d\/100%\)$/);
  });
});

/** Resolves once the conversion has begun to write. */
async function temporaryFile(at: Workspace): Promise<void> {
  const known = (await readdir(at.folder)).length;
  for (let attempt = 0; attempt < 400; attempt++) {
    if ((await readdir(at.folder)).length > known) return;
    await sleep(25);
  }
  throw new Error("the conversion never began");
}

test.skipIf(process.getuid?.() !== 0)(
  "no space left: one line that names the target, and nothing left",
  async (context) => {
    const at = await workspace();
    await rawDisk(at, "a.img", 8);
    await mkdir(at.file("mount"));
    const mounted = await execa("mount", ["-t", "tmpfs", "-o", "size=1M", "tmpfs", at.file("mount")], {
      reject: false,
    });
    context.skip(mounted.exitCode !== 0, "tmpfs cannot be mounted here");
    onTestFinished(async () => void (await execa("umount", [at.file("mount")], { reject: false })));
    const outcome = await at.start("convert", "-O", "qcow2", "a.img", "mount/b.qcow2");
    expect(outcome.exitCode).toBe(1);
    expect(outcome.stderr).toMatch(/mount\/b\.qcow2.*No space left on device/);
    expect(outcome.stderr.match(/\n/g)).toHaveLength(1);
    expect(await readdir(at.file("mount"))).toEqual([]);
  },
);
