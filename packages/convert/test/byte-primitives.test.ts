import fc from "fast-check";
import { expect, it } from "vitest";
import { portablePrimitives } from "../src/byte-primitives.ts";

/** A view at any alignment, zero except for a few bytes. */
const views = fc
  .record({
    skip: fc.nat(17),
    length: fc.nat(300),
    marks: fc.array(fc.record({ at: fc.nat(299), value: fc.integer({ min: 1, max: 255 }) }), {
      maxLength: 2,
    }),
  })
  .map(({ skip, length, marks }) => {
    const view = new Uint8Array(skip + length).subarray(skip);
    for (const { at, value } of marks) if (at < length) view[at] = value;
    return view;
  });

const ranges = fc.tuple(fc.nat(300), fc.nat(300)).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);

it("finds exactly the ranges that are zero", () => {
  fc.assert(
    fc.property(views, ranges, (view, [from, to]) => {
      const [start, end] = [Math.min(from, view.length), Math.min(to, view.length)];
      expect(portablePrimitives.isZero(view, start, end)).toBe(
        view.subarray(start, end).every((byte) => byte === 0),
      );
    }),
    { numRuns: 2000 },
  );
});

it("sees every single bit, wherever it is", () => {
  const bytes = new Uint8Array(200);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    bytes[bit >> 3] = 1 << (bit & 7);
    const other = new Uint8Array(200);
    expect(portablePrimitives.isZero(bytes, 0, 200), `bit ${bit}`).toBe(false);
    expect(portablePrimitives.equal(bytes, other, 0, 200), `bit ${bit}`).toBe(false);
    bytes[bit >> 3] = 0;
  }
});

it("finds exactly the ranges that are equal", () => {
  fc.assert(
    fc.property(views, views, ranges, (first, second, [from, to]) => {
      const length = Math.min(first.length, second.length);
      const [start, end] = [Math.min(from, length), Math.min(to, length)];
      const same = first.subarray(start, end).every((byte, index) => byte === second[start + index]);
      expect(portablePrimitives.equal(first, second, start, end)).toBe(same);
    }),
    { numRuns: 2000 },
  );
});
