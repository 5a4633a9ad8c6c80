/** Where the commands come from, if not from the command line: a person at a terminal, or a pipe. */
import { createInterface } from "node:readline";
import { decodeText } from "@qcow2/core";
import { IO_COMMANDS } from "./command-table.ts";
import type { IoSession } from "./session.ts";

const PROMPT = "qemu-io> ";

/** The lines of standard input, each after a prompt, as qemu-io does it for pipes too. */
export async function* promptedLines(session: IoSession): AsyncGenerator<string> {
  const { stdin, out } = session.context;
  const isTerminal = process.stdin.isTTY === true && stdin === process.stdin && process.stdout.isTTY === true;
  const lines = createInterface(
    isTerminal
      ? { input: stdin, output: process.stdout, prompt: PROMPT, completer }
      : // A character for each byte: names in the lines need not be UTF-8.
        { input: stdin.setEncoding("latin1"), crlfDelay: Number.POSITIVE_INFINITY },
  );
  const prompt = async (): Promise<void> => {
    if (!isTerminal) await session.print(PROMPT);
    await out.flush();
    if (isTerminal) lines.prompt();
  };
  try {
    await prompt();
    for await (const line of lines) {
      yield isTerminal ? line : decodeText(Buffer.from(line, "latin1"));
      await prompt();
    }
  } finally {
    lines.close();
  }
}

function completer(line: string): [string[], string] {
  const names = IO_COMMANDS.map(({ name }) => name).filter((name) => name.startsWith(line));
  return [names, line];
}
