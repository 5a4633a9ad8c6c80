/** Colours by what they mean. Loaded only where there may be some. */
import { styleText } from "node:util";
import type { Terminal } from "./terminal.ts";

export interface Style {
  heading(text: string): string;
  /** What can be passed over. */
  faint(text: string): string;
  /** What a line is about. */
  strong(text: string): string;
  good(text: string): string;
  warning(text: string): string;
  bad(text: string): string;
  /** Neither good nor bad, and worth knowing. */
  notable(text: string): string;
}

const asItIs = (text: string): string => text;

const PLAIN: Style = {
  heading: asItIs,
  faint: asItIs,
  strong: asItIs,
  good: asItIs,
  warning: asItIs,
  bad: asItIs,
  notable: asItIs,
};

type Format = Parameters<typeof styleText>[0];

/** Whether there are colours was found out before, so the stream is not asked again. */
const coloured =
  (format: Format) =>
  (text: string): string =>
    text === "" ? text : styleText(format, text, { validateStream: false });

const COLOURED: Style = {
  heading: coloured("bold"),
  faint: coloured("gray"),
  strong: coloured("bold"),
  good: coloured("green"),
  warning: coloured("yellow"),
  bad: coloured("red"),
  notable: coloured("cyan"),
};

export function styleFor(terminal: Terminal | undefined): Style {
  return terminal?.hasColours === true ? COLOURED : PLAIN;
}
