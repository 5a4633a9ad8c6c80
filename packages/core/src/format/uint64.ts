/**
 * 64-bit big-endian integers as two 32-bit halves. Offsets become exact numbers; values above 2^53 - 1 are an
 * error where a number is asked for, and stay available as bigint where the format needs all 64 bits.
 */
import { Qcow2Error } from "../errors.ts";

const TWO_32 = 2 ** 32;
/** The high half of the largest safe integer. */
const MAX_SAFE_HIGH = 0x1fffff;

/** A DataView over exactly the bytes of `bytes`. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * Reads an unsigned 64-bit value as a number.
 * @throws Qcow2Error "unsafe-offset" above 2^53 - 1; `structure` names the field in the message.
 */
export function readUint64(view: DataView, at: number, structure: string): number {
  const high = view.getUint32(at);
  if (high > MAX_SAFE_HIGH) {
    const found = view.getBigUint64(at);
    throw new Qcow2Error("unsafe-offset", `${structure} 0x${found.toString(16)} is beyond 2^53 - 1`, {
      structure,
      found,
    });
  }
  return high * TWO_32 + view.getUint32(at + 4);
}

/** Writes a safe, non-negative integer as an unsigned 64-bit value. */
export function writeUint64(view: DataView, at: number, value: number): void {
  view.setUint32(at, Math.floor(value / TWO_32));
  view.setUint32(at + 4, value % TWO_32);
}

/**
 * True if `length` bytes from `offset` end at a number that can be held exactly. What a damaged image says may lie beyond
 * that, where offsets are no longer what was read: nothing may be asked of a storage there.
 */
export function isExactRange(offset: number, length: number): boolean {
  return offset + length <= Number.MAX_SAFE_INTEGER;
}

/** Joins the 24 low bits of `high` with `low`: a 56-bit host offset, exact if it is a safe integer. */
export function joinHostOffset(high: number, low: number): number {
  return (high & 0x00ffffff) * TWO_32 + (low >>> 0);
}

/** The high 32 bits of a safe, non-negative integer. */
export function highHalf(value: number): number {
  return Math.floor(value / TWO_32);
}

/** The low 32 bits of a safe, non-negative integer, as an unsigned number. */
export function lowHalf(value: number): number {
  return value % TWO_32;
}
