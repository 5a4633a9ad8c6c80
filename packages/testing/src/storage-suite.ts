import type { Storage } from "@qcow2/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { content } from "./content.ts";
import { expectBytes } from "./expect-bytes.ts";

/** One implementation of Storage under test. */
export interface StorageSubject {
  /** Opened for writing, empty. */
  readonly storage: Storage;
  /** Opens the same bytes again, as another process would; absent where nothing outlives the object. */
  reopen?(): Promise<Storage>;
  /** Removes what `make` made; the storage is closed already. */
  dispose?(): Promise<void>;
}

/** What every Storage must do, to be run on each implementation. */
export function describeStorage(name: string, make: () => Promise<StorageSubject>): void {
  describe(`${name} as a Storage`, () => {
    let subject: StorageSubject;
    let storage: Storage;
    beforeEach(async () => {
      subject = await make();
      storage = subject.storage;
    });
    afterEach(async () => {
      await storage.close();
      await subject.dispose?.();
    });

    const bytes = (length: number, seed = 1): Uint8Array => content({ kind: "random", seed, length });
    const readBack = async (offset: number, length: number): Promise<Uint8Array> => {
      const into = new Uint8Array(length).fill(0xa5);
      expect(await storage.read(offset, into)).toBe(length);
      return into;
    };

    it("starts empty", async () => {
      expect(await storage.size()).toBe(0);
      expect(await storage.read(0, new Uint8Array(4))).toBe(0);
    });

    it("reads back what was written, at any offset and length", async () => {
      const written = bytes(200_001);
      await storage.write(12_345, written);
      expect(await storage.size()).toBe(212_346);
      expectBytes(await readBack(12_345, 200_001), written);
      expectBytes(await readBack(100_000, 7), written.subarray(87_655, 87_662));
    });

    it("reads a gap as zeroes", async () => {
      await storage.write(1_000_000, bytes(10));
      expectBytes(await readBack(0, 1_000_000), new Uint8Array(1_000_000));
    });

    it("reads short at the end, leaves the rest of the buffer, and reads nothing beyond", async () => {
      await storage.write(0, bytes(100));
      const into = new Uint8Array(50).fill(0xa5);
      expect(await storage.read(80, into)).toBe(20);
      expectBytes(into.subarray(0, 20), bytes(100).subarray(80));
      expectBytes(into.subarray(20), new Uint8Array(30).fill(0xa5));
      expect(await storage.read(100, into)).toBe(0);
      expect(await storage.read(2 ** 40, into)).toBe(0);
    });

    it("takes a view of a larger buffer for what it is", async () => {
      const whole = bytes(64);
      await storage.write(3, whole.subarray(10, 20));
      const into = new Uint8Array(64).fill(0xa5);
      expect(await storage.read(3, into.subarray(30, 40))).toBe(10);
      expectBytes(into.subarray(30, 40), whole.subarray(10, 20));
      expect(into[29]).toBe(0xa5);
      expect(into[40]).toBe(0xa5);
    });

    it("accepts reads and writes of nothing", async () => {
      await storage.write(0, new Uint8Array(0));
      expect(await storage.read(0, new Uint8Array(0))).toBe(0);
      expect(await storage.size()).toBe(0);
    });

    it("overwrites without touching the neighbours", async () => {
      const first = bytes(4096, 1);
      await storage.write(0, first);
      await storage.write(1000, bytes(24, 2));
      const expected = first.slice();
      expected.set(bytes(24, 2), 1000);
      expectBytes(await readBack(0, 4096), expected);
    });

    it("forgets what truncation cut off", async () => {
      await storage.write(0, bytes(5000));
      await storage.truncate(100);
      expect(await storage.size()).toBe(100);
      await storage.truncate(5000);
      expectBytes(await readBack(0, 100), bytes(5000).subarray(0, 100));
      expectBytes(await readBack(100, 4900), new Uint8Array(4900));
    });

    it("keeps offsets beyond 4 GiB apart", async () => {
      await storage.write(2 ** 32 + 1, bytes(10, 3));
      await storage.write(1, bytes(10, 4));
      expectBytes(await readBack(2 ** 32 + 1, 10), bytes(10, 3));
      expectBytes(await readBack(1, 10), bytes(10, 4));
    });

    it.each([-1, 0.5, Number.NaN, 2 ** 53, Number.POSITIVE_INFINITY])(
      "rejects offset %s before it reaches the host",
      async (offset) => {
        await storage.write(0, bytes(100));
        await expect(storage.read(offset, new Uint8Array(1))).rejects.toThrow(RangeError);
        await expect(storage.write(offset, new Uint8Array(1))).rejects.toThrow(RangeError);
        await expect(storage.truncate(offset)).rejects.toThrow(RangeError);
        expect(await storage.size()).toBe(100);
        expectBytes(await readBack(0, 100), bytes(100));
      },
    );

    it("rejects a write that would end above 2^53 - 1", async () => {
      await expect(storage.write(2 ** 53 - 2, bytes(4))).rejects.toThrow(RangeError);
      expect(await storage.size()).toBe(0);
    });

    it("runs many writes and reads at once", async () => {
      const pieces = Array.from({ length: 64 }, (_, index) => ({
        offset: index * 5000,
        from: bytes(5000, index + 1),
      }));
      await Promise.all(pieces.map(({ offset, from }) => storage.write(offset, from)));
      const answers = await Promise.all(pieces.map(({ offset }) => readBack(offset, 5000)));
      for (const [index, answer] of answers.entries()) expectBytes(answer, pieces[index]!.from);
    });

    it("shows everything to whoever opens it after a flush", async ({ skip }) => {
      if (subject.reopen === undefined) return skip("nothing outlives this storage");
      await storage.write(77, bytes(1000));
      await storage.flush();
      const other = await subject.reopen();
      try {
        const into = new Uint8Array(1000);
        expect(await other.size()).toBe(1077);
        expect(await other.read(77, into)).toBe(1000);
        expectBytes(into, bytes(1000));
      } finally {
        await other.close();
      }
    });

    it("closes twice without complaint, and then refuses to work", async () => {
      await storage.write(0, bytes(10));
      await storage.close();
      await storage.close();
      await expect(storage.read(0, new Uint8Array(1))).rejects.toThrow();
      await expect(storage.write(0, new Uint8Array(1))).rejects.toThrow();
    });

    it("tells extents that cover everything and calls nothing a hole that holds data", async ({ skip }) => {
      if (storage.extentAt === undefined) return skip("this storage does not tell holes");
      await storage.write(300_000, bytes(100_000));
      await storage.write(2_000_000, bytes(1));
      const size = await storage.size();
      for (let offset = 0; offset < size; ) {
        const extent = await storage.extentAt(offset);
        if (extent === undefined) return skip("this host does not tell holes");
        expect(extent.offset).toBe(offset);
        expect(extent.length).toBeGreaterThan(0);
        expect(offset + extent.length).toBeLessThanOrEqual(size);
        if (extent.kind === "hole") {
          expectBytes(await readBack(offset, extent.length), new Uint8Array(extent.length));
        }
        offset += extent.length;
      }
    });

    it("punches holes that read as zeroes, exactly where they were asked for", async ({ skip }) => {
      if (storage.punchHole === undefined) return skip("this storage punches no holes");
      const written = bytes(500_000);
      await storage.write(0, written);
      await storage.punchHole(12_345, 300_000);
      const expected = written.slice().fill(0, 12_345, 312_345);
      expectBytes(await readBack(0, 500_000), expected);
      expect(await storage.size()).toBe(500_000);
    });

    it("does not grow by a hole beyond the end", async ({ skip }) => {
      if (storage.punchHole === undefined) return skip("this storage punches no holes");
      await storage.write(0, bytes(1000));
      await storage.punchHole(500, 100_000);
      expect(await storage.size()).toBe(1000);
      expectBytes(await readBack(0, 500), bytes(1000).subarray(0, 500));
      expectBytes(await readBack(500, 500), new Uint8Array(500));
    });

    it("reserves space without changing what is there", async ({ skip }) => {
      if (storage.allocate === undefined) return skip("this storage reserves no space");
      await storage.write(0, bytes(1000));
      await storage.allocate(0, 200_000);
      expect(await storage.size()).toBe(200_000);
      expectBytes(await readBack(0, 1000), bytes(1000));
      expectBytes(await readBack(1000, 199_000), new Uint8Array(199_000));
      if (storage.allocatedBytes !== undefined) {
        expect(await storage.allocatedBytes()).toBeGreaterThanOrEqual(200_000);
      }
    });
  });
}
