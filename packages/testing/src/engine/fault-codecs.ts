/** Codecs in which one call fails, or all of a kind from one on. */
import type { ClusterCodec, Codecs } from "@qcow2/core";
import { ENGINE_CODECS } from "./engine-codecs.ts";

export const CODEC_KINDS = ["decompress", "decompressAll", "compress", "compressAll"] as const;

export interface CodecFault {
  readonly role: "codec";
  readonly kind: (typeof CODEC_KINDS)[number];
  /** Which call of that kind: 1 is the first. */
  readonly at: number;
  readonly repeat: "once" | "from-then-on";
  /** "short": it answers with less than it was asked for, where it answers with bytes. */
  readonly way: "throws" | "short";
}

/** What a failing call throws. */
export class CodecFailure extends Error {}

export class FaultCodecs {
  readonly codecs: Codecs;
  readonly #fault: CodecFault | undefined;
  readonly #counts = new Map<string, number>();

  constructor(fault: CodecFault | undefined) {
    this.#fault = fault;
    const { decompress, decompressAll, compress, compressAll } = ENGINE_CODECS.zlib as Required<ClusterCodec>;
    this.codecs = {
      zlib: {
        decompress: async (input, length) => {
          const isShort = this.#meets("decompress");
          const cluster = await decompress(input, length);
          return isShort ? cluster.subarray(0, length - 1) : cluster;
        },
        decompressAll: async (inputLength, fill, clusters) => {
          this.#meets("decompressAll");
          await decompressAll(inputLength, fill, clusters);
        },
        compress: async (input) => {
          this.#meets("compress");
          return await compress(input);
        },
        compressAll: async (clusters, clusterSize) => {
          this.#meets("compressAll");
          return await compressAll(clusters, clusterSize);
        },
      },
    };
  }

  countOf(kind: CodecFault["kind"]): number {
    return this.#counts.get(kind) ?? 0;
  }

  /** Counts the call; throws if it is to fail so, and tells if it is to fail otherwise. */
  #meets(kind: CodecFault["kind"]): boolean {
    const count = this.countOf(kind) + 1;
    this.#counts.set(kind, count);
    const fault = this.#fault;
    if (fault === undefined || fault.kind !== kind) return false;
    const isMet = fault.repeat === "once" ? count === fault.at : count >= fault.at;
    if (isMet && (fault.way === "throws" || kind !== "decompress"))
      throw new CodecFailure(`${kind} failed (injected)`);
    return isMet;
  }
}
