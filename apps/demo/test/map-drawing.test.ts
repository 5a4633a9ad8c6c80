import { expect, it } from "vitest";
import { drawMap } from "../src/map-drawing.ts";

it("shades each part by its share of data, and shows none with data as empty", () => {
  const entries = [
    { start: 0, length: 1, zero: false },
    { start: 1, length: 634, zero: true },
    { start: 635, length: 645, zero: false },
  ];
  expect(drawMap(entries, 1280, 2)).toEqual({
    bytesPerCharacter: 10,
    lines: [`░${"·".repeat(62)}▒`, "█".repeat(64)],
  });
});

it("uses fewer characters for a disk that does not fill the lines", () => {
  const drawing = drawMap([{ start: 0, length: 100, zero: false }], 100, 1);
  expect(drawing).toEqual({ bytesPerCharacter: 2, lines: ["█".repeat(50)] });
});
