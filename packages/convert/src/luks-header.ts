import { Qcow2Error } from "@qcow2/core";

/** What a LUKS volume is encrypted with, in QEMU's names. */
export interface LuksCipher {
  /** Default "aes-256". */
  readonly algorithm?: string | undefined;
  /** Default "xts". */
  readonly mode?: string | undefined;
}

/** Bytes of the key of each algorithm, and whether its blocks have the 16 bytes that XTS is made for. */
const ALGORITHMS: Readonly<Record<string, { readonly keyBytes: number; readonly hasXts: boolean }>> = {
  "aes-128": { keyBytes: 16, hasXts: true },
  "aes-192": { keyBytes: 24, hasXts: true },
  "aes-256": { keyBytes: 32, hasXts: true },
  "cast5-128": { keyBytes: 16, hasXts: false },
  "serpent-128": { keyBytes: 16, hasXts: true },
  "serpent-192": { keyBytes: 24, hasXts: true },
  "serpent-256": { keyBytes: 32, hasXts: true },
  "twofish-128": { keyBytes: 16, hasXts: true },
  "twofish-192": { keyBytes: 24, hasXts: true },
  "twofish-256": { keyBytes: 32, hasXts: true },
};
const MODES: readonly string[] = ["ecb", "cbc", "xts", "ctr"];

/** LUKS1 On-Disk Format Specification: number of key slots, and stripes into which each splits the key. */
const KEY_SLOTS = 8;
const STRIPES = 4000;
/** What the header and each slot's key material begin at multiples of. */
const ALIGNMENT_BYTES = 4096;
/** Split keys are encrypted by sectors. */
const SECTOR_BYTES = 512;

/**
 * Bytes of a LUKS header with the key material of all slots, as QEMU lays them out.
 * @throws Qcow2Error "invalid-option" for a cipher that there is not
 */
export function luksHeaderBytes({ algorithm = "aes-256", mode = "xts" }: LuksCipher): number {
  const known = Object.hasOwn(ALGORITHMS, algorithm) ? ALGORITHMS[algorithm] : undefined;
  if (known === undefined) throw refuse("algorithm", `Algorithm '${algorithm}' not supported`);
  if (!MODES.includes(mode) || (mode === "xts" && !known.hasXts)) {
    throw refuse("mode", `Unsupported cipher mode ${mode}`);
  }
  // XTS takes two keys.
  const keyBytes = known.keyBytes * (mode === "xts" ? 2 : 1);
  const splitKeyBytes = keyBytes * STRIPES;
  if (splitKeyBytes % SECTOR_BYTES !== 0) {
    throw refuse("mode", `Algorithm '${algorithm}' with cipher mode ${mode} not supported`);
  }
  const slotBytes = Math.ceil(splitKeyBytes / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
  return ALIGNMENT_BYTES + KEY_SLOTS * slotBytes;
}

function refuse(option: string, message: string): Qcow2Error<"invalid-option"> {
  return new Qcow2Error("invalid-option", message, { option });
}
