/** Finds the examples in documentation. */

export interface CodeBlock {
  /** The word after the opening fence: "ts", "sh", ... */
  readonly language: string;
  readonly text: string;
  /** Line number of the opening fence, from 1. */
  readonly line: number;
}

/** All fenced code blocks of a Markdown text, in order. */
export function codeBlocks(markdown: string): CodeBlock[] {
  const blocks: CodeBlock[] = [];
  let open: { language: string; line: number; lines: string[] } | undefined;
  for (const [index, line] of markdown.split("\n").entries()) {
    const fence = /^```(\w*)/.exec(line);
    if (fence === null) open?.lines.push(line);
    else if (open === undefined) open = { language: fence[1]!, line: index + 1, lines: [] };
    else {
      blocks.push({ language: open.language, line: open.line, text: open.lines.join("\n") });
      open = undefined;
    }
  }
  if (open !== undefined) throw new Error(`the code block at line ${open.line} is not closed`);
  return blocks;
}
