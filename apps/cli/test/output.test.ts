import { describe, expect, test } from "vitest";
import { checkJson, checkText } from "../src/output/check-report.ts";
import { formatFixed } from "../src/output/decimal.ts";
import { humanSize } from "../src/output/human-size.ts";
import { emptyEntry, joinEntries, mapJson, mapLine } from "../src/output/map-entry.ts";
import { formatQemuJson } from "../src/output/qemu-json.ts";
import { snapshotTable } from "../src/output/snapshot-table.ts";

describe("JSON", () => {
  test("has QEMU's order of members, four spaces, and empty lists over two lines", () => {
    expect(
      formatQemuJson({ filename: "a", children: [], "virtual-size": 1, format: "raw", "dirty-flag": false }),
    ).toBe(
      '{\n    "children": [\n    ],\n    "virtual-size": 1,\n    "filename": "a",\n    "format": "raw",\n' +
        '    "dirty-flag": false\n}',
    );
    expect(formatQemuJson([{ name: "x", flags: ["auto"] }, {}])).toBe(
      '[\n    {\n        "flags": [\n            "auto"\n        ],\n        "name": "x"\n    },\n    {\n    }\n]',
    );
  });

  test("escapes everything outside printable ASCII, and reads back as what it was", () => {
    const text = 'a"\\\b\f\n\r\t\u0001\u007fäµ\u{1f600}';
    const json = formatQemuJson(text);
    expect(json).toBe('"a\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u007F\\u00E4\\u00B5\\uD83D\\uDE00"');
    expect(JSON.parse(json)).toBe(text);
  });

  test("leaves undefined members out and knows no member without a place", () => {
    expect(formatQemuJson({ name: undefined })).toBe("{\n}");
    expect(() => formatQemuJson({ name: 1, surprise: 2 })).toThrow(/surprise/);
  });
});

test.each([
  [0, "0 B"],
  [1, "1 B"],
  [999, "999 B"],
  [1000, "0.977 KiB"],
  [1024, "1 KiB"],
  [1152, "1.12 KiB"],
  [1160, "1.13 KiB"],
  [200704, "196 KiB"],
  [1023999, "1e+03 KiB"],
  [1024000, "0.977 MiB"],
  [10 * 2 ** 30, "10 GiB"],
  [2 ** 53 - 1, "8 PiB"],
])("%d bytes are %s", (bytes, text) => {
  expect(humanSize(bytes)).toBe(text);
});

test("decimals are rounded as C does: ties to even", () => {
  expect(formatFixed(0.125, 2)).toBe("0.12");
  expect(formatFixed(0.375, 2)).toBe("0.38");
  expect(formatFixed(2.5, 0)).toBe("2");
  expect(formatFixed(3.5, 0)).toBe("4");
  expect(formatFixed(99.999, 2)).toBe("100.00");
  expect(formatFixed(1 / 3, 2)).toBe("0.33");
});

describe("check", () => {
  const clean = {
    corruptions: 0,
    leaks: 0,
    checkErrors: 0,
    totalClusters: 800,
    allocatedClusters: 1,
    fragmentedClusters: 0,
    compressedClusters: 0,
    imageEndOffset: 327680,
  };

  test("says what qemu-img says", () => {
    expect(checkText(clean)).toBe(
      "No errors were found on the image.\n" +
        "1/800 = 0.12% allocated, 0.00% fragmented, 0.00% compressed clusters\nImage end offset: 327680\n",
    );
    expect(checkText({ ...clean, corruptions: 2, leaks: 1, allocatedClusters: 0, imageEndOffset: 0 })).toBe(
      "\n2 errors were found on the image.\n" +
        "Data may be corrupted, or further writes to the image may corrupt it.\n" +
        "\n1 leaked clusters were found on the image.\nThis means waste of disk space, but no harm to data.\n",
    );
  });

  test("JSON leaves out counts of zero, but not the errors of the check", () => {
    const json: unknown = JSON.parse(
      checkJson({ result: clean, corruptionsFixed: 0, leaksFixed: 0 }, { filename: "x", format: "qcow2" }),
    );
    expect(json).toEqual({
      filename: "x",
      format: "qcow2",
      "check-errors": 0,
      "image-end-offset": 327680,
      "total-clusters": 800,
      "allocated-clusters": 1,
    });
  });
});

describe("map", () => {
  const entry = { ...emptyEntry(0x10000), length: 0x20000, present: true, data: true, offset: 0x50000 };

  test("prints lines and JSON as qemu-img does", () => {
    expect(mapLine(entry, "a.qcow2")).toBe("0x10000         0x20000         0x50000         a.qcow2");
    expect(mapJson(entry)).toBe(
      '{ "start": 65536, "length": 131072, "depth": 0, "present": true, "zero": false, "data": true, ' +
        '"compressed": false, "offset": 327680}',
    );
    expect(mapJson(emptyEntry(5))).toBe(
      '{ "start": 5, "length": 0, "depth": 0, "present": false, "zero": false, "data": false, "compressed": false}',
    );
  });

  test("joins only what continues on the host too", () => {
    const next = { ...entry, start: 0x30000, offset: 0x70000 };
    expect(joinEntries(entry, next)).toEqual({ ...entry, length: 0x40000 });
    expect(joinEntries(entry, { ...next, offset: 0x80000 })).toBeUndefined();
    expect(joinEntries(entry, { ...next, offset: undefined })).toBeUndefined();
    expect(joinEntries(entry, { ...next, depth: 1 })).toBeUndefined();
    expect(joinEntries({ ...entry, offset: undefined }, { ...next, offset: undefined })).toBeDefined();
  });
});

test("the snapshot table counts bytes in its columns, and hours beyond a day", () => {
  const [heading, line] = snapshotTable([
    {
      id: "1",
      name: "größe",
      vmStateSize: 1536,
      dateSeconds: new Date(2024, 1, 3, 4, 5, 6).getTime() / 1000,
      dateNanoseconds: 0,
      vmClockNanoseconds: 100_000_123_456_789n,
      icount: undefined,
      diskSize: 0,
    },
  ]);
  expect(heading).toBe("ID      TAG               VM_SIZE                DATE        VM_CLOCK     ICOUNT");
  const tag = `größe${" ".repeat(9)}`;
  expect(line).toBe(`1       ${tag}  1.5 KiB 2024-02-03 04:05:06  0027:46:40.123         --`);
});
