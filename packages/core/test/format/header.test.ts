import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isQcow2Error } from "../../src/errors.ts";
import { decodeHeader, encodeHeader, type Header } from "../../src/format/header.ts";
import { bytesOf, hexOf } from "./hex.ts";

const VERSION_2 = `
  514649fb 00000002  0000000000000048 00000009  00000010  0000000040000000  00000000
  00000002 0000000000030000  0000000000010000 00000001  00000003 0000000000050000`;

const VERSION_3 = `
  514649fb 00000003  0000000000000180 00000011  00000010  0000000280000000  00000002
  00000005 0000000000030000  0000000000010000 00000001  00000000 0000000000000000
  0000000000000008 0000000000000001 8000000000000001  00000006 00000070
  01 00000000000000`;

describe("header", () => {
  it("of version 2 has 72 bytes and fixed refcounts of 16 bits", () => {
    expect(decodeHeader(bytesOf(VERSION_2))).toEqual({
      version: 2,
      backingFileOffset: 72n,
      backingFileSize: 9,
      clusterBits: 16,
      size: 2n ** 30n,
      cryptMethod: 0,
      l1Size: 2,
      l1TableOffset: 0x30000n,
      refcountTableOffset: 0x10000n,
      refcountTableClusters: 1,
      snapshotCount: 3,
      snapshotsOffset: 0x50000n,
      incompatibleFeatures: 0n,
      compatibleFeatures: 0n,
      autoclearFeatures: 0n,
      refcountOrder: 4,
      headerLength: 72,
      compressionType: 0,
      unknownFields: new Uint8Array(0),
    });
  });

  it("of version 3 has features, refcount order, length and compression type", () => {
    expect(decodeHeader(bytesOf(VERSION_3))).toEqual({
      version: 3,
      backingFileOffset: 0x180n,
      backingFileSize: 17,
      clusterBits: 16,
      size: 10n * 2n ** 30n,
      cryptMethod: 2,
      l1Size: 5,
      l1TableOffset: 0x30000n,
      refcountTableOffset: 0x10000n,
      refcountTableClusters: 1,
      snapshotCount: 0,
      snapshotsOffset: 0n,
      incompatibleFeatures: 8n,
      compatibleFeatures: 1n,
      autoclearFeatures: 0x8000000000000001n,
      refcountOrder: 6,
      headerLength: 112,
      compressionType: 1,
      unknownFields: new Uint8Array(7),
    });
  });

  it.each([VERSION_2, VERSION_3])("is written as it was read", (hex) => {
    const bytes = bytesOf(hex);
    expect(hexOf(encodeHeader(decodeHeader(bytes)))).toBe(hexOf(bytes));
  });

  it("with 104 bytes has no compression type: what follows belongs to the extensions", () => {
    const bytes = bytesOf(VERSION_3);
    bytes[103] = 104;
    expect(decodeHeader(bytes)).toMatchObject({ headerLength: 104, compressionType: 0 });
    expect(encodeHeader(decodeHeader(bytes))).toEqual(bytes.subarray(0, 104));
  });

  it("keeps every field beyond the ones it knows", () => {
    const arbitrary = fc.record({
      version: fc.constant(3),
      backingFileOffset: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      backingFileSize: fc.nat(0xffffffff),
      clusterBits: fc.integer({ min: 9, max: 21 }),
      size: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      cryptMethod: fc.nat(0xffffffff),
      l1Size: fc.nat(0xffffffff),
      l1TableOffset: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      refcountTableOffset: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      refcountTableClusters: fc.nat(0xffffffff),
      snapshotCount: fc.nat(0xffffffff),
      snapshotsOffset: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      incompatibleFeatures: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      compatibleFeatures: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      autoclearFeatures: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      refcountOrder: fc.nat(0xffffffff),
      compressionType: fc.nat(255),
      unknownFields: fc.uint8Array({ minLength: 0, maxLength: 60 }),
    });
    fc.assert(
      fc.property(arbitrary, (fields) => {
        const header: Header = { ...fields, headerLength: 105 + fields.unknownFields.length };
        expect(decodeHeader(encodeHeader(header))).toEqual(header);
      }),
    );
  });

  it.each([
    ["another magic", "514649fa", "not-qcow2"],
    ["nothing", "", "not-qcow2"],
    ["the magic alone", "514649fb", "truncated"],
    ["version 1", "514649fb 00000001", "unsupported-version"],
    ["version 4", "514649fb 00000004", "unsupported-version"],
    ["a cut version 2", VERSION_2.slice(0, -2), "truncated"],
    ["a cut version 3", VERSION_3.slice(0, -2), "truncated"],
    ["version 3 in 72 bytes", VERSION_2.replace("00000002", "00000003"), "truncated"],
    ["a length below 104", VERSION_3.replace("00000070", "00000064"), "invalid-image"],
    ["a length beyond the cluster", VERSION_3.replace("00000070", "00010001"), "invalid-image"],
    ["a length beyond the file", VERSION_3.replace("00000070", "00000071"), "truncated"],
  ] as const)("is refused: %s", (_, hex, code) => {
    let thrown: unknown;
    try {
      decodeHeader(bytesOf(hex));
    } catch (error) {
      thrown = error;
    }
    expect(isQcow2Error(thrown, code)).toBe(true);
  });
});
