import type { Disk, WritableDisk } from "@qcow2/core";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { content } from "./content.ts";
import { DiskModel, expectSameContent } from "./disk-model.ts";

export interface DiskSubject {
  /** Empty: reads as zeroes throughout. */
  readonly disk: WritableDisk;
  /** Opens what was written again, after the disk was closed. */
  reopen(): Promise<Disk>;
  dispose?(): Promise<void>;
}

/** What every WritableDisk must do, to be run on each format and configuration. */
export function describeDisk(
  name: string,
  make: (options: { readonly size: number }) => Promise<DiskSubject>,
): void {
  describe(`${name} as a Disk`, () => {
    /** No multiple of any cluster size above 512. */
    const size = 5 * 2 ** 20 + 512 * 7;
    let subject: DiskSubject;
    let disk: WritableDisk;
    let model: DiskModel;
    beforeEach(async () => {
      subject = await make({ size });
      disk = subject.disk;
      model = new DiskModel(size);
    });
    afterEach(async () => {
      await disk.close();
      await subject.dispose?.();
    });

    const write = async (offset: number, length: number, seed: number): Promise<void> => {
      const from = content({ kind: "random", seed, length });
      await disk.write({ offset, from });
      await model.write(offset, from);
    };
    const writeZeroes = async (offset: number, length: number, unmap: boolean): Promise<void> => {
      await disk.writeZeroes({ offset, length, unmap });
      await model.writeZeroes(offset, length);
    };
    /** Holds the disk against the model, now and as whoever opens it next sees it. */
    const expectModel = async (): Promise<void> => {
      await expectSameContent(disk, model);
      await disk.flush();
      await disk.close();
      const reopened = await subject.reopen();
      try {
        await expectSameContent(reopened, model);
        await expectHonestMap(reopened, model);
      } finally {
        await reopened.close();
      }
    };

    it("starts with zeroes", async () => {
      expect(disk.size).toBe(size);
      await expectModel();
    });

    it("writes and reads at any alignment", async () => {
      await write(0, 1, 1);
      await write(511, 1026, 2);
      await write(65535, 131_074, 3);
      await write(size - 3, 3, 4);
      await expectModel();
    });

    it("overwrites in part", async () => {
      await write(0, 400_000, 1);
      await write(100_001, 65_536, 2);
      await write(100_002, 5, 3);
      await expectModel();
    });

    it.each([false, true])("writes zeroes over data (unmap: %s)", async (unmap) => {
      await write(0, 1_000_000, 1);
      await writeZeroes(1, 100, unmap);
      await writeZeroes(65_530, 300_000, unmap);
      await writeZeroes(size - 70_000, 70_000, unmap);
      await expectModel();
    });

    it("writes data over zeroes", async () => {
      await writeZeroes(0, size, false);
      await write(70_000, 10, 1);
      await write(3_000_000, 200_000, 2);
      await expectModel();
    });

    it("accepts empty requests everywhere, its end included", async () => {
      await disk.write({ offset: size, from: new Uint8Array(0) });
      await disk.writeZeroes({ offset: size, length: 0 });
      await disk.read({ offset: size, into: new Uint8Array(0) });
      await expectModel();
    });

    it("refuses ranges that do not lie within it, and changes nothing", async () => {
      const code = { code: "out-of-range" };
      await expect(disk.read({ offset: size - 1, into: new Uint8Array(2) })).rejects.toMatchObject(code);
      await expect(disk.write({ offset: size - 1, from: new Uint8Array(2).fill(1) })).rejects.toMatchObject(
        code,
      );
      await expect(disk.writeZeroes({ offset: size - 1, length: 2 })).rejects.toMatchObject(code);
      await expectModel();
    });

    it("keeps concurrent writes apart, also within one cluster", async () => {
      await Promise.all(Array.from({ length: 200 }, (_, index) => write(index * 1000, 1000, index + 1)));
      await expectModel();
    });

    it("is copied by a pipe from its readable to another's writable", async () => {
      await write(100_001, 700_000, 1);
      await write(2 ** 20 - 7, 65_536, 2);
      await writeZeroes(300_000, 200_000, false);
      await write(size - 70_000, 70_000, 3);
      const copy = await make({ size });
      try {
        // Old data, to be replaced by the source's zeroes too.
        await copy.disk.write({ offset: 2 ** 20, from: new Uint8Array(2 ** 20 + 5).fill(7) });
        await disk.readable({ chunkSize: 100_000 }).pipeTo(copy.disk.writable());
        await expectSameContent(copy.disk, model);
        await copy.disk.close();
        const reopened = await copy.reopen();
        await expectSameContent(reopened, model);
        await expectHonestMap(reopened, model);
        await reopened.close();
      } finally {
        await copy.disk.close();
        await copy.dispose?.();
      }
      await expectModel();
    });

    it("changes nothing outside what a stream brings, and nothing for one that is too long", async () => {
      await write(0, 300_000, 1);
      const brought = new Uint8Array(content({ kind: "random", seed: 2, length: 100_000 }));
      await new Blob([brought]).stream().pipeTo(disk.writable({ offset: 12_345 }));
      await model.write(12_345, brought);
      const tooLong = new Blob([brought]).stream().pipeTo(disk.writable({ offset: size - 1000 }));
      await expect(tooLong).rejects.toMatchObject({ code: "out-of-range" });
      await expectModel();
    });

    it("equals its model after any sequence of changes", { timeout: 60_000 }, async () => {
      const change = fc.record({
        kind: fc.constantFrom("write", "write-zeroes", "unmap"),
        offset: fc.nat(size - 1),
        length: fc.nat(150_000),
        seed: fc.nat(1000),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(change, { maxLength: 20 }), async (changes) => {
          const own = await make({ size });
          const ownModel = new DiskModel(size);
          for (const { kind, offset, length, seed } of changes) {
            const clipped = Math.min(length, size - offset);
            if (kind === "write") {
              const from = content({ kind: "stamps", seed, length: clipped, offset });
              await own.disk.write({ offset, from });
              await ownModel.write(offset, from);
            } else {
              await own.disk.writeZeroes({ offset, length: clipped, unmap: kind === "unmap" });
              await ownModel.writeZeroes(offset, clipped);
            }
          }
          await expectSameContent(own.disk, ownModel);
          await own.disk.close();
          const reopened = await own.reopen();
          await expectSameContent(reopened, ownModel);
          await expectHonestMap(reopened, ownModel);
          await reopened.close();
          await own.dispose?.();
        }),
        { numRuns: 15 },
      );
    });

    it("closes twice without complaint", async () => {
      await disk.close();
      await disk.close();
    });
  });
}

/** The extents cover the disk in order and without gaps, and none that is called zero holds anything else. */
async function expectHonestMap(disk: Disk, model: DiskModel): Promise<void> {
  let end = 0;
  for await (const extent of disk.map()) {
    expect(extent.offset).toBe(end);
    expect(extent.length).toBeGreaterThan(0);
    end += extent.length;
    if (extent.kind !== "zero") continue;
    const bytes = await model.read(extent.offset, extent.length);
    if (bytes.some((byte) => byte !== 0)) {
      throw new Error(`map calls ${extent.offset}+${extent.length} zero, but there is data`);
    }
  }
  expect(end).toBe(disk.size);
}
