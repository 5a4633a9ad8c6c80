import type { Codecs } from "@qcow2/core";
import { nodeCodecs } from "@qcow2/node";

export interface OpenCodecs extends AsyncDisposable {
  readonly codecs: Codecs;
}

/** The runtime's codecs; disposing of them ends their worker threads. */
export function openCodecs(): OpenCodecs {
  const codecs = nodeCodecs();
  return {
    codecs,
    [Symbol.asyncDispose]: () => codecs.close(),
  };
}
