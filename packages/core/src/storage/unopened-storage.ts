/** What stands for a file that was not opened: whoever wants its bytes is refused, and no other file is touched instead. */
import { Qcow2Error } from "../errors.ts";
import type { Storage } from "./storage.ts";

/** @param what "the external data file", for messages */
export function unopenedStorage(what: string): Storage {
  const refuse = async (): Promise<never> => {
    throw new Qcow2Error("unsupported", `This needs ${what}, which was not opened`, {
      operation: `use ${what}`,
    });
  };
  return {
    name: what,
    readOnly: true,
    size: refuse,
    read: refuse,
    write: refuse,
    truncate: refuse,
    // Nothing was written to it.
    flush: async () => undefined,
    close: async () => undefined,
  };
}
