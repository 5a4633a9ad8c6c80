/** The little of roff that the manual needs (man(7)): text that means itself, fonts, and paragraphs. */

const SPECIAL: Readonly<Record<string, string>> = {
  "\\": "\\e",
  // Otherwise a hyphen and typographic quotes, which nobody can paste into a shell.
  "-": "\\-",
  "'": "\\(aq",
  "`": "\\(ga",
  "^": "\\(ha",
  "~": "\\(ti",
};

/** Text of one line, with nothing in it that roff would interpret. */
export function plain(text: string): string {
  return text
    .replace(/[\\\-'`^~]/g, (character) => SPECIAL[character] ?? character)
    .replace(/[^\x20-\x7e]/gu, (character) => `\\[u${hex(character)}]`)
    .replace(/^\./, "\\&.");
}

export function bold(text: string): string {
  return text === "" ? "" : `\\fB${plain(text)}\\fR`;
}

export function italic(text: string): string {
  return text === "" ? "" : `\\fI${plain(text)}\\fR`;
}

/** A command line as a synopsis shows it: words in capitals stand for something, the rest is typed as it is. */
export function synopsis(invocation: string, words: string): string {
  const parts = words.split(/(?<![A-Za-z])([A-Z][A-Z_]*)(?![a-z])/);
  const rest = parts.map((part, index) => (index % 2 === 1 ? italic(part) : plain(part))).join("");
  return `${bold(invocation)} ${rest}`.trimEnd();
}

/** Columns within which a line of help was certainly not ended because it was full. */
const FULL_LINE = 100;

/**
 * The lines of text that was broken into lines for a help page. They are filled anew, except where a line was ended
 * although the next word had room in it. Columns of terms and explanations become tagged paragraphs.
 */
export function* paragraphs(text: string): Generator<string> {
  const lines = text.split("\n");
  for (const [index, line] of lines.entries()) {
    const [, term, explanation] = /^(\S+) {2,}(.*)$/.exec(line) ?? [];
    const previous = lines[index - 1];
    if (line === "") yield ".PP";
    else if (term !== undefined && explanation !== undefined) yield* tagged(bold(term), explanation);
    else {
      const isDeliberate =
        previous !== undefined &&
        previous !== "" &&
        previous.length + 1 + (line.split(" ")[0] ?? "").length <= FULL_LINE;
      if (isDeliberate) yield ".br";
      yield plain(line);
    }
  }
}

export function* tagged(tag: string, explanation: string): Generator<string> {
  yield ".TP";
  yield tag;
  yield plain(explanation);
}

/** Lines that stay as they are, indented. */
export function* verbatim(lines: readonly string[]): Generator<string> {
  yield ".PP";
  yield ".RS 4";
  yield ".nf";
  yield* lines;
  yield ".fi";
  yield ".RE";
}

function hex(character: string): string {
  return (character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
}
