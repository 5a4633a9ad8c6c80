import { viewOf } from "../../src/format/uint64.ts";

/** Bytes written as hexadecimal; white space is for reading. */
export function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(hex.replace(/\s+/g, "").match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

/** A view of bytes written as hexadecimal. */
export function viewOfHex(hex: string): DataView {
  return viewOf(bytesOf(hex));
}

export function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
