import { MemoryStorage } from "@qcow2/core";
import { describe, expect, it } from "vitest";
import { CountingStorage } from "../src/counting-storage.ts";
import { FaultyStorage } from "../src/faulty-storage.ts";
import { PlainStorage } from "../src/plain-storage.ts";
import { RecordingStorage } from "../src/recording-storage.ts";
import { describeStorage } from "../src/storage-suite.ts";
import { WrappedStorage } from "../src/wrapped-storage.ts";

describeStorage("MemoryStorage", async () => ({ storage: new MemoryStorage() }));
describeStorage("WrappedStorage", async () => ({ storage: new WrappedStorage(new MemoryStorage()) }));
describeStorage("PlainStorage", async () => ({ storage: new PlainStorage(new MemoryStorage()) }));

describe("PlainStorage", () => {
  it("has none of the optional abilities", () => {
    const storage: WrappedStorage = new PlainStorage(new MemoryStorage());
    expect([storage.extentAt, storage.punchHole, storage.allocate, storage.allocatedBytes]).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });
});

describe("CountingStorage", () => {
  it("counts operations and bytes", async () => {
    const storage = new CountingStorage(new MemoryStorage());
    await storage.write(0, new Uint8Array(100));
    await storage.write(100, new Uint8Array(10));
    await storage.read(0, new Uint8Array(7));
    await storage.extentAt?.(0);
    expect(storage.count("write")).toBe(2);
    expect(storage.count("read")).toBe(1);
    expect(storage.count("extentAt")).toBe(1);
    expect(storage.bytesWritten).toBe(110);
    expect(storage.bytesRead).toBe(7);
    storage.reset();
    expect(storage.count("write") + storage.bytesWritten).toBe(0);
  });
});

describe("FaultyStorage", () => {
  it("fails only the n-th operation, and that one does nothing", async () => {
    const inner = new MemoryStorage();
    const storage = new FaultyStorage(inner, { failAt: 2, errno: "ENOSPC" });
    await storage.write(0, new Uint8Array(4).fill(1));
    await expect(storage.write(0, new Uint8Array(4).fill(2))).rejects.toMatchObject({
      code: "io",
      data: { operation: "write", errno: "ENOSPC", offset: 0 },
    });
    await storage.write(4, new Uint8Array(4).fill(3));
    const into = new Uint8Array(8);
    await inner.read(0, into);
    expect([...into]).toEqual([1, 1, 1, 1, 3, 3, 3, 3]);
    expect(storage.counted).toBe(3);
  });

  it("goes on failing when asked to, and counts only what it was asked to count", async () => {
    const storage = new FaultyStorage(new MemoryStorage(), {
      failAt: 1,
      kinds: ["flush"],
      repeat: "from-then-on",
    });
    await storage.write(0, new Uint8Array(4));
    await expect(storage.flush()).rejects.toThrow("injected");
    await expect(storage.flush()).rejects.toThrow("injected");
  });
});

describe("RecordingStorage", () => {
  it("keeps copies of what was written, in order", async () => {
    const storage = new RecordingStorage(new MemoryStorage());
    const buffer = new Uint8Array([1, 2, 3]);
    await storage.write(5, buffer);
    buffer.fill(9);
    await storage.flush();
    await storage.truncate(2);
    expect(storage.operations).toEqual([
      { kind: "write", offset: 5, length: 3, bytes: new Uint8Array([1, 2, 3]) },
      { kind: "flush", offset: 0, length: 0 },
      { kind: "truncate", offset: 0, length: 2 },
    ]);
  });
});
