/** What a command of `io` is. */
import type { OptionTable } from "../options/getopt.ts";
import type { IoSession } from "./session.ts";

export interface IoCommand {
  readonly name: string;
  readonly alias?: string;
  /** What follows the name, with a space in front of it; or nothing. */
  readonly synopsis: string;
  readonly summary: string;
  /** How many words may follow the name; without a maximum, any more. */
  readonly wordCount: { readonly minimum: number; readonly maximum: number | undefined };
  /** It does without an open image. */
  readonly needsNoImage?: boolean;
  /** The image must not be open read-only. */
  readonly changesImage?: boolean;
  /** Loaded when it is called, so that the others cost no start-up time. */
  load(): Promise<IoImplementation>;
}

export interface IoImplementation {
  /** For the help; a command without takes its words as they are. */
  readonly options?: OptionTable;
  /** For the help: lines that say more than the summary. */
  readonly notes?: string;
  /** `words` are the command's own name and what follows it. Failures are thrown; see `refusal.ts`. */
  run(words: readonly string[], session: IoSession): Promise<IoOutcome>;
}

export type IoOutcome = "done" | "failed" | "quit";

/** The line that explains how the command is called. */
export function usageLine({ name, synopsis, summary }: IoCommand): string {
  return `${name}${synopsis} -- ${summary}`;
}
