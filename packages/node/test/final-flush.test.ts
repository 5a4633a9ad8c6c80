/** The host reports data that it lost to one flush and forgets it: no other flush of that file may succeed. */
import type * as NodeFs from "node:fs";
import { isQcow2Error } from "@qcow2/core";
import { beforeEach, expect, it, vi } from "vitest";
import { FileStorage } from "../src/file/file-storage.ts";
import { useTemporaryDirectory } from "./temporary-directory.ts";

type Callback = (error: NodeJS.ErrnoException | null) => void;

/** How many syncs fail from now on; as in a kernel, those beside and after them succeed. */
const host = vi.hoisted(() => ({ failing: 0, syncs: 0 }));

vi.mock("node:fs", async (original) => {
  const { default: fs } = await original<{ default: typeof NodeFs }>();
  const sync = (_fd: number, callback: Callback): void => {
    host.syncs++;
    const fails = host.failing > 0;
    if (fails) host.failing--;
    const error = Object.assign(new Error("EIO: i/o error, fdatasync"), {
      code: "EIO",
      errno: -5,
      syscall: "fdatasync",
    });
    // The one that fails takes longer.
    setTimeout(() => callback(fails ? error : null), fails ? 20 : 1);
  };
  return { default: { ...fs, fdatasync: sync, fsync: sync } };
});

const inDirectory = useTemporaryDirectory();

beforeEach(() => {
  host.failing = 0;
  host.syncs = 0;
});

async function reasonOf(work: Promise<void>): Promise<string | undefined> {
  return await work.then(
    () => undefined,
    (error: unknown) => (isQcow2Error(error, "io") ? error.data.errno : String(error)),
  );
}

it("fails those who flush at the same time, and everybody after them, until the file is opened anew", async () => {
  const path = inDirectory("file");
  const storage = await FileStorage.open(path, { create: true });
  await storage.write(0, Uint8Array.of(1));
  host.failing = 1;
  const beside = [storage.flush(), storage.flush(), storage.flushAttributes(), storage.flush()];
  expect(await Promise.all(beside.map(reasonOf))).toEqual(["EIO", "EIO", "EIO", "EIO"]);
  expect(await reasonOf(storage.flush())).toBe("EIO");
  expect(await reasonOf(storage.flushAttributes())).toBe("EIO");
  await storage.close();
  const anew = await FileStorage.open(path);
  expect(await reasonOf(anew.flush())).toBeUndefined();
  await anew.close();
});

it("fails for good after the file's attributes could not be flushed", async () => {
  const storage = await FileStorage.open(inDirectory("other"), { create: true });
  host.failing = 1;
  expect(await reasonOf(storage.flushAttributes())).toBe("EIO");
  expect(await reasonOf(storage.flush())).toBe("EIO");
  await storage.close();
});

it("flushes once for all who ask while another flush is under way", async () => {
  const storage = await FileStorage.open(inDirectory("third"), { create: true });
  // The first flush of a new file makes its name durable, too.
  await storage.flush();
  host.syncs = 0;
  await Promise.all([storage.flush(), storage.flush(), storage.flush(), storage.flush()]);
  expect(host.syncs).toBe(2);
  await storage.close();
});
