import type { ImageOptions } from "@qcow2/core";
import { ALLOCATED, MemoryDisk, UNALLOCATED } from "@qcow2/testing";
import { describe, expect, it } from "vitest";
import { type LuksCipher, measureImage } from "../src/index.ts";

const K = 1024;
const G = 2 ** 30;
const T = 2 ** 40;

describe("measureImage", () => {
  // What qemu-img 10.0 measures for the same options; the conformance suite asks it about many more.
  it.each<[number, ImageOptions, number, number]>([
    [G, {}, 393216, 1074135040],
    [0, {}, 196608, 196608],
    [10 * G, { clusterSize: 512, refcountBits: 64 }, 346283520, 11083701760],
    [T, { extendedL2: true, clusterSize: 16 * K }, 1208745984, 1100720373760],
    [G, { preallocation: "falloc" }, 1074135040, 1074135040],
    [1000000, { version: 2, preallocation: "metadata" }, 327680, 1376256],
  ])("measures %d bytes with %o as QEMU does", async (size, options, required, fullyAllocated) => {
    expect(await measureImage({ size, options, targetFormat: "qcow2" })).toEqual({
      required,
      fullyAllocated,
    });
  });

  // Again as QEMU says.
  it.each<[LuksCipher, number]>([
    [{}, 2490368],
    [{ algorithm: "aes-128" }, 1507328],
    [{ algorithm: "aes-128", mode: "cbc" }, 983040],
    [{ algorithm: "twofish-192" }, 1966080],
    [{ mode: "ctr" }, 1507328],
    [{ algorithm: "cast5-128", mode: "ecb" }, 983040],
  ])("counts the header of a LUKS volume with %o", async (luks, required) => {
    const empty = await measureImage({ size: G, targetFormat: "qcow2" });
    expect(await measureImage({ size: G, targetFormat: "qcow2", luks })).toEqual({
      required,
      fullyAllocated: empty.fullyAllocated + required - empty.required,
    });
  });

  it.each<LuksCipher>([{ algorithm: "rot13" }, { mode: "none" }, { algorithm: "cast5-128" }])(
    "refuses %o",
    async (luks) => {
      const measuring = measureImage({ size: G, targetFormat: "qcow2", luks });
      await expect(measuring).rejects.toMatchObject({ code: "invalid-option" });
    },
  );

  it("counts every cluster of the target that holds any data of the source, once", async () => {
    const source = new MemoryDisk({ size: 1024 * K });
    for (const [offset, length] of [
      [10 * K, 2 * K],
      [40 * K, 30 * K],
      [127 * K, 512],
      [640 * K, 64 * K],
    ] as const) {
      source.setState(offset, length, { ...ALLOCATED });
    }
    source.setState(768 * K, 64 * K, { ...UNALLOCATED, present: true, stored: true });
    const empty = await measureImage({ size: source.size, targetFormat: "qcow2" });
    const measured = await measureImage({ source, targetFormat: "qcow2" });
    expect(measured.required - empty.required).toBe((2 + 1) * 64 * K);
    const small = { clusterSize: 4 * K };
    const emptySmall = await measureImage({ size: source.size, targetFormat: "qcow2", options: small });
    const measuredSmall = await measureImage({ source, targetFormat: "qcow2", options: small });
    expect(measuredSmall.required - emptySmall.required).toBe((1 + 8 + 1 + 16) * 4 * K);
  });

  it("counts everything if the new image is to have a backing file", async () => {
    const source = new MemoryDisk({ size: 1024 * K });
    const { required, fullyAllocated } = await measureImage({
      source,
      targetFormat: "qcow2",
      hasBackingFile: true,
    });
    expect(required).toBe(fullyAllocated);
    expect(source.operations).toEqual([]);
  });

  it("measures raw images by their size in whole sectors", async () => {
    expect(await measureImage({ size: 1000, targetFormat: "raw" })).toEqual({
      required: 1024,
      fullyAllocated: 1024,
    });
  });

  it.each<[number, ImageOptions, string]>([
    [G, { clusterSize: 1000 }, "invalid-option"],
    [G, { clusterSize: 4 * 2 ** 20 }, "invalid-option"],
    [G, { clusterSize: 8 * K, extendedL2: true }, "invalid-option"],
    [G, { refcountBits: 3 }, "invalid-option"],
    [G, { refcountBits: 8, version: 2 }, "invalid-option"],
    [T, { clusterSize: 512 }, "limit-exceeded"],
  ])("refuses %d bytes with %o: %s", async (size, options, code) => {
    await expect(measureImage({ size, options, targetFormat: "qcow2" })).rejects.toMatchObject({ code });
  });

  it("refuses formats it cannot measure, and callers who say too little or too much", async () => {
    await expect(measureImage({ size: G, targetFormat: "vmdk" })).rejects.toMatchObject({
      code: "unsupported-format",
    });
    await expect(measureImage({ targetFormat: "raw" })).rejects.toThrow(TypeError);
    const source = new MemoryDisk({ size: 0 });
    await expect(measureImage({ source, size: 0, targetFormat: "raw" })).rejects.toThrow(TypeError);
  });
});
