/** Whether output goes to a person at a terminal. */
import type { Writable } from "node:stream";
import type { WriteStream } from "node:tty";
import type { ProgramName } from "../program.ts";

export interface Terminal {
  /** Of the terminal, as far as NO_COLOR, FORCE_COLOR and TERM let it. */
  readonly hasColours: boolean;
}

/**
 * Undefined if `stream` is no terminal, and for a command that is called as `qemu-img` or `qemu-io`: then output is what
 * QEMU's own prints, whatever the environment says about colours.
 */
export function terminalOf(stream: Writable, program: ProgramName): Terminal | undefined {
  if (program !== "qcow2" || !isTerminal(stream)) return undefined;
  return { hasColours: stream.hasColors() };
}

/** Not by its class: `node:tty` would be loaded for it, and what it needs of the network, where there is no terminal. */
function isTerminal(stream: Writable): stream is WriteStream {
  return "isTTY" in stream && stream.isTTY === true;
}
