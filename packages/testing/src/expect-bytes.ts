import { expect } from "vitest";
import { firstDifference } from "./disk-model.ts";

/** Like `expect(actual).toEqual(expected)`, which takes seconds for a megabyte; names the first differing byte. */
export function expectBytes(actual: Uint8Array, expected: Uint8Array): void {
  expect(actual.length).toBe(expected.length);
  const at = firstDifference(actual, expected);
  if (at !== undefined) expect({ at, byte: actual[at] }).toEqual({ at, byte: expected[at] });
}
