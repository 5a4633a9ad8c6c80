import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import { Writable } from "node:stream";
import { Qcow2Image } from "@qcow2/core";
import { FileStorage } from "@qcow2/node";
import { execa } from "execa";
import { describe, expect, onTestFinished, test } from "vitest";
import { Output } from "../src/output/output.ts";
import { COMMAND, type Workspace, workspace } from "./run-command.ts";

/** Text of about 300 KiB, which no pipe takes at once: a map of many small extents. */
async function longOutput(): Promise<{
  readonly at: Workspace;
  readonly args: string[];
  readonly text: string;
}> {
  const at = await workspace();
  {
    const storage = await FileStorage.open(at.file("disk.qcow2"), { create: true });
    await using image = await Qcow2Image.create({ storage, size: 2 ** 21, clusterSize: 512 });
    for (let offset = 0; offset < image.size; offset += 1024) {
      await image.write({ offset, from: new Uint8Array(512).fill(1) });
    }
  }
  const args = [COMMAND, "map", "--output=json", "disk.qcow2"];
  const file = fs.openSync(at.file("text"), "w");
  const child = spawn(process.execPath, args, { cwd: at.folder, stdio: ["ignore", file, "inherit"] });
  expect(await once(child, "close")).toEqual([0, null]);
  fs.closeSync(file);
  const text = fs.readFileSync(at.file("text"), "utf8");
  expect(text.length).toBeGreaterThan(200_000);
  expect(JSON.parse(text)).toHaveLength(4096);
  return { at, args, text };
}

describe("output", () => {
  test("is the same in a file, in a pipe, and in a pipe whose reader takes its time", async () => {
    const { at, args, text } = await longOutput();
    const piped = await execa(process.execPath, args, { cwd: at.folder, stripFinalNewline: false });
    expect(piped.stdout).toBe(text);
    const slow = spawn(process.execPath, args, { cwd: at.folder, stdio: ["ignore", "pipe", "inherit"] });
    await new Promise((resolve) => setTimeout(resolve, 500));
    let read = "";
    slow.stdout.setEncoding("utf8").on("data", (piece: string) => {
      read += piece;
      slow.stdout.pause();
      setTimeout(() => slow.stdout.resume(), 5);
    });
    const [exitCode] = await once(slow, "close");
    expect(exitCode).toBe(0);
    expect(read).toBe(text);
  });

  test("that nobody reads to its end is no failure", async () => {
    const { at, args } = await longOutput();
    for (const length of [0, 1, 100_000]) {
      const child = spawn(process.execPath, args, { cwd: at.folder, stdio: ["ignore", "pipe", "pipe"] });
      let errors = "";
      child.stderr.setEncoding("utf8").on("data", (piece: string) => {
        errors += piece;
      });
      let read = 0;
      if (length === 0) child.stdout.destroy();
      child.stdout.on("data", (piece: Buffer) => {
        read += piece.length;
        if (read >= length) child.stdout.destroy();
      });
      expect(await once(child, "close")).toEqual([0, null]);
      expect(errors).toBe("");
    }
  });

  // Output of Windows goes through streams only.
  test.skipIf(process.platform === "win32")(
    "goes on in a stream where a full pipe does not wait",
    async () => {
      const at = await workspace();
      await execa("mkfifo", [at.file("pipe")]);
      const pipe = fs.openSync(at.file("pipe"), fs.constants.O_RDWR | fs.constants.O_NONBLOCK);
      onTestFinished(() => fs.closeSync(pipe));
      const filler = untilItWouldWait(() => fs.writeSync(pipe, "-"));
      const bytes = Buffer.alloc(filler + 10_000);
      let read = fs.readSync(pipe, bytes, { length: 4096 });
      let streamed = "";
      const stream = new Writable({
        write(chunk: Buffer, _encoding, done) {
          streamed += chunk.toString();
          done();
        },
      });
      const output = new Output({ stream: () => stream, descriptor: pipe });
      const texts = [`${"é".repeat(3000)}\n`, "second\n", "third\n"];
      for (const text of texts) await output.write(text);
      untilItWouldWait(() => {
        read += fs.readSync(pipe, bytes, { offset: read });
      });
      const direct = bytes.toString("utf8", filler, read);
      expect(direct.length).toBeGreaterThan(0);
      expect(streamed.length).toBeGreaterThan(0);
      expect(Buffer.concat([bytes.subarray(filler, read), Buffer.from(streamed)]).toString()).toBe(
        texts.join(""),
      );
    },
  );
});

/** Repeats `work` until it fails with EAGAIN, and returns how often it did not. */
function untilItWouldWait(work: () => unknown): number {
  for (let count = 0; ; count++) {
    try {
      work();
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "EAGAIN") return count;
      throw error;
    }
  }
}
