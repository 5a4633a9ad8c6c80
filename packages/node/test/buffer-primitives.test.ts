import { content } from "@qcow2/testing";
import { expect, it } from "vitest";
import { bufferPrimitives } from "../src/buffer-primitives.ts";

it("finds zeroes in any range of any length, and every byte that is not", () => {
  const bytes = new Uint8Array(300_003).subarray(3);
  for (const at of [0, 1, 65_535, 65_536, 131_071, 299_999]) {
    bytes[at] = 1;
    expect(bufferPrimitives.isZero(bytes, 0, bytes.length)).toBe(false);
    expect(bufferPrimitives.isZero(bytes, at, at + 1)).toBe(false);
    expect(bufferPrimitives.isZero(bytes, 0, at)).toBe(true);
    expect(bufferPrimitives.isZero(bytes, at + 1, bytes.length)).toBe(true);
    bytes[at] = 0;
  }
  expect(bufferPrimitives.isZero(bytes, 5, 5)).toBe(true);
});

it("compares the same range of both, wherever the views begin", () => {
  const first = content({ kind: "random", seed: 1, length: 100_000 }).subarray(7);
  const second = new Uint8Array(100_001).subarray(8);
  second.set(first);
  expect(bufferPrimitives.equal(first, second, 0, first.length)).toBe(true);
  second[70_000] = (second[70_000] ?? 0) ^ 1;
  expect(bufferPrimitives.equal(first, second, 0, first.length)).toBe(false);
  expect(bufferPrimitives.equal(first, second, 0, 70_000)).toBe(true);
  expect(bufferPrimitives.equal(first, second, 70_000, 70_001)).toBe(false);
  expect(bufferPrimitives.equal(first, second, 70_001, first.length)).toBe(true);
});
