/** Header extensions (specification: "Header extensions"). Unknown ones are kept byte for byte. */
import { Qcow2Error } from "../errors.ts";
import type { NamedFeature } from "./feature-bits.ts";
import { decodeStoredText, encodeText } from "./stored-text.ts";
import { viewOf } from "./uint64.ts";

export const EXTENSION_END = 0x00000000;
export const EXTENSION_BACKING_FORMAT = 0xe2792aca;
export const EXTENSION_FEATURE_NAMES = 0x6803f857;
export const EXTENSION_BITMAPS = 0x23852875;
export const EXTENSION_CRYPTO = 0x0537be77;
export const EXTENSION_DATA_FILE = 0x44415441;

/** One extension as stored, without its padding. */
export interface HeaderExtension {
  readonly type: number;
  readonly data: Uint8Array;
}

/**
 * Decodes the extensions in bytes[start, end) up to the end marker (or `end`, where the backing file's name
 * begins or the first cluster ends). `bytes` may end before that: what a short file does not have reads as zeroes, and so
 * as the end marker.
 * @throws Qcow2Error "invalid-image" if an extension does not fit, be it only its own header, as in QEMU.
 */
export function decodeHeaderExtensions(bytes: Uint8Array, start: number, end: number): HeaderExtension[] {
  const view = viewOf(bytes);
  const extensions: HeaderExtension[] = [];
  for (let at = start; at < end; ) {
    const room = Math.min(end, bytes.length) - at - 8;
    if (at + 8 > end) throw tooLarge(at, 8, end - at);
    if (room < 0) break;
    const type = view.getUint32(at);
    const length = view.getUint32(at + 4);
    // QEMU refuses an end marker with a length that does not fit, too.
    if (length > (type === EXTENSION_END ? end - at - 8 : room)) throw tooLarge(at, length, room);
    if (type === EXTENSION_END) break;
    extensions.push({ type, data: bytes.slice(at + 8, at + 8 + length) });
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return extensions;
}

function tooLarge(offset: number, found: number, expected: number): Qcow2Error<"invalid-image"> {
  return new Qcow2Error("invalid-image", "Header extension too large", {
    structure: "header extension",
    offset,
    found,
    expected,
  });
}

/**
 * Where the extensions in bytes[start, end) end: behind the end marker, or at `end` without one. They must have been
 * decoded without an error.
 */
export function headerExtensionsEnd(bytes: Uint8Array, start: number, end: number): number {
  const view = viewOf(bytes);
  for (let at = start; at + 8 <= end; ) {
    if (view.getUint32(at) === EXTENSION_END) return at + 8;
    at += 8 + Math.ceil(view.getUint32(at + 4) / 8) * 8;
  }
  return end;
}

/** Encodes the extensions, each padded to 8 bytes, followed by the end marker. */
export function encodeHeaderExtensions(extensions: readonly HeaderExtension[]): Uint8Array {
  const length = extensions.reduce((sum, { data }) => sum + 8 + Math.ceil(data.length / 8) * 8, 8);
  const bytes = new Uint8Array(length);
  const view = viewOf(bytes);
  let at = 0;
  for (const { type, data } of extensions) {
    view.setUint32(at, type);
    view.setUint32(at + 4, data.length);
    bytes.set(data, at + 8);
    at += 8 + Math.ceil(data.length / 8) * 8;
  }
  return bytes;
}

const FEATURE_NAME_ENTRY_BYTES = 48;

/** Decodes the feature name table; as in QEMU, an incomplete last entry reads as if zeroes followed. */
export function decodeFeatureNames(data: Uint8Array): NamedFeature[] {
  const features: NamedFeature[] = [];
  for (let at = 0; at + 2 < data.length; at += FEATURE_NAME_ENTRY_BYTES) {
    features.push({
      type: data[at] ?? 0,
      bit: data[at + 1] ?? 0,
      name: decodeStoredText(data.subarray(at + 2, at + FEATURE_NAME_ENTRY_BYTES)),
    });
  }
  return features;
}

/** Encodes a feature name table; names have at most 46 bytes. */
export function encodeFeatureNames(features: readonly NamedFeature[]): Uint8Array {
  const data = new Uint8Array(features.length * FEATURE_NAME_ENTRY_BYTES);
  features.forEach(({ type, bit, name }, index) => {
    const at = index * FEATURE_NAME_ENTRY_BYTES;
    data[at] = type;
    data[at + 1] = bit;
    data.set(encodeText(name).subarray(0, FEATURE_NAME_ENTRY_BYTES - 2), at + 2);
  });
  return data;
}

/** The bitmaps extension (specification: "Bitmaps extension"). */
export interface BitmapsExtension {
  readonly bitmapCount: number;
  /** Bytes. */
  readonly directorySize: bigint;
  /** Byte offset in the image file. */
  readonly directoryOffset: bigint;
}

export const BITMAPS_EXTENSION_BYTES = 24;

/** @throws Qcow2Error "invalid-image" if the extension has another length. */
export function decodeBitmapsExtension(data: Uint8Array): BitmapsExtension {
  if (data.length !== BITMAPS_EXTENSION_BYTES) {
    throw new Qcow2Error("invalid-image", `bitmaps_ext: Invalid extension length ${data.length}`, {
      structure: "bitmaps extension",
      found: data.length,
      expected: BITMAPS_EXTENSION_BYTES,
    });
  }
  const view = viewOf(data);
  return {
    bitmapCount: view.getUint32(0),
    directorySize: view.getBigUint64(8),
    directoryOffset: view.getBigUint64(16),
  };
}

export function encodeBitmapsExtension(extension: BitmapsExtension): Uint8Array {
  const data = new Uint8Array(BITMAPS_EXTENSION_BYTES);
  const view = viewOf(data);
  view.setUint32(0, extension.bitmapCount);
  view.setBigUint64(8, extension.directorySize);
  view.setBigUint64(16, extension.directoryOffset);
  return data;
}
