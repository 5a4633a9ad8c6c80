/** The parts of which commands and answers of `io` consist. */
import { describe, expect, test } from "vitest";
import { hexdump } from "../../src/io/hexdump.ts";
import {
  parseBufferLengths,
  parseBytes,
  parsePattern,
  parseRequestLength,
} from "../../src/io/parse-words.ts";
import { requestReport } from "../../src/io/request-report.ts";
import { sizeText } from "../../src/io/size-text.ts";
import { splitWords } from "../../src/io/split-words.ts";

test.each([
  ["read 0 1", ["read", "0", "1"]],
  ["  read   0  1 ", ["read", "0", "1"]],
  ['write -s "a b"', ["write", "-s", '"a', 'b"']],
  ["read\t0", ["read\t0"]],
  ["", []],
  ["   ", []],
])("%j are the words %j", (line, words) => {
  expect(splitWords(line)).toEqual(words);
});

test.each([
  [0, "0 bytes"],
  [1, "1 bytes"],
  [1023, "1023 bytes"],
  [1024, "1 KiB"],
  [1536, "1.500 KiB"],
  [1024 * 1024 * 1.5625, "1.562 MiB"],
  [2 ** 40, "1 TiB"],
  [2 ** 53, "8 PiB"],
  [2 ** 63, "8 EiB"],
  [1000 * 1024, "1000 KiB"],
  [351.688174, "351.688174 bytes"],
  // Nothing is shown from ".000" on, and 1023.9999 KiB are 1024.000 KiB.
  [351.000688, "351 bytes"],
  [2 ** 20 - 0.1, "1024 KiB"],
])("%d bytes are %j", (bytes, text) => {
  expect(sizeText(bytes)).toBe(text);
});

describe("the report of a request", () => {
  const request = { what: "wrote", offset: 512, length: 1024, seconds: 0.5, machineReadable: false };

  test("tells what was done, and how fast", () => {
    expect(requestReport(request)).toBe(
      "wrote 1024/1024 bytes at offset 512\n1 KiB, 1 ops; 00.50 sec (2 KiB/sec and 2.0000 ops/sec)\n",
    );
  });

  test("has hours and minutes from a minute on", () => {
    expect(requestReport({ ...request, seconds: 59.999 })).toContain("; 59.99 sec (");
    expect(requestReport({ ...request, seconds: 60 })).toContain("; 0:01:00.00 (");
    expect(requestReport({ ...request, seconds: 3725.5 })).toContain("; 1:02:05.50 (");
  });

  test("is one line of values for machines", () => {
    expect(requestReport({ ...request, machineReadable: true })).toBe("1024,1,0:00:00.50,2048.000,2.000\n");
  });
});

describe("a hexdump", () => {
  test("has sixteen bytes a line, and letters and digits beside them", () => {
    const bytes = new TextEncoder().encode("A-z 0_9 and so on");
    expect([...hexdump(bytes, 0xffffffff)].join("")).toBe(
      "ffffffff:  41 2d 7a 20 30 5f 39 20 61 6e 64 20 73 6f 20 6f  A.z.0.9.and.so.o\n" +
        "10000000f:  6e  n\n",
    );
  });

  test("of nothing is nothing", () => {
    expect([...hexdump(new Uint8Array(0), 0)]).toEqual([]);
  });

  test("comes in pieces that join without a seam", () => {
    const bytes = new Uint8Array(20_000).map((_, index) => index % 251);
    const pieces = [...hexdump(bytes, 0)];
    expect(pieces.length).toBeGreaterThan(1);
    const lines = pieces.join("").split("\n").slice(0, -1);
    expect(lines).toHaveLength(bytes.length / 16);
    const values = lines.flatMap((line) =>
      line
        .slice(11, 11 + 48)
        .trim()
        .split(" "),
    );
    expect(Uint8Array.from(values, (value) => Number.parseInt(value, 16))).toEqual(bytes);
  });
});

describe("numbers of commands", () => {
  test.each([
    ["0", 0],
    ["255", 255],
    ["+5", 5],
    ["0xCD", 0xcd],
    ["0377", 0xff],
  ])("the pattern %j is the byte %d", (text, byte) => {
    expect(parsePattern(text)).toBe(byte);
  });

  test.each(["", "256", "-1", "0400", "08", "0x", "1k", "x"])("%j is no pattern", (text) => {
    expect(() => parsePattern(text)).toThrow(`${text} is not a valid pattern byte`);
  });

  test.each([
    ["1.5k", 1536],
    ["0x10", 16],
    ["9223372036854775807", 2 ** 63],
  ])("%j are %d bytes", (text, bytes) => {
    expect(parseBytes(text)).toBe(bytes);
  });

  test.each(["9223372036854775808", "8E", "-1"])("%j is too large", (text) => {
    expect(() => parseBytes(text)).toThrow(`Parsing error: argument too large -- ${text}`);
  });

  test("a request has less than 2 GiB, also if it is given in parts", () => {
    expect(parseRequestLength("2147483136")).toBe(2147483136);
    expect(() => parseRequestLength("2G")).toThrow("length cannot exceed 2147483136, given 2G");
    expect(parseBufferLengths(["1G", "1073741312"])).toBe(2147483136);
    expect(() => parseBufferLengths(["1G", "1G"])).toThrow("exceed the maximum size 2147483136");
    expect(() => parseBufferLengths(["2G"])).toThrow("Argument '2G' exceeds maximum size 2147483136");
  });
});
