/** The format of an image: by its first bytes, by its last ones, or by the name of its file. */
import type { Storage } from "../storage/storage.ts";

/** Bytes that {@link probeFormat} wants to see; fewer are fine if the file is shorter. */
export const PROBE_BYTES = 2048;

interface Signature {
  readonly format: string;
  readonly at: number;
  readonly magic: readonly number[];
}

function ascii(text: string): readonly number[] {
  return Array.from(text, (character) => character.charCodeAt(0));
}

/** Formats that QEMU would recognise too; named so that none of them is taken for raw data. */
const SIGNATURES: readonly Signature[] = [
  { format: "vmdk", at: 0, magic: ascii("KDMV") },
  { format: "vmdk", at: 0, magic: ascii("COWD") },
  { format: "vmdk", at: 0, magic: ascii("# Disk DescriptorFile") },
  { format: "vhdx", at: 0, magic: ascii("vhdxfile") },
  { format: "vpc", at: 0, magic: ascii("conectix") },
  { format: "vdi", at: 64, magic: [0x7f, 0x10, 0xda, 0xbe] },
  { format: "qed", at: 0, magic: [0x51, 0x45, 0x44, 0x00] },
  { format: "luks", at: 0, magic: [0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe] },
  { format: "parallels", at: 0, magic: ascii("WithoutFreeSpace") },
  { format: "parallels", at: 0, magic: ascii("WithouFreSpacExt") },
  { format: "bochs", at: 0, magic: ascii("Bochs Virtual HD Image") },
  { format: "cloop", at: 0, magic: ascii("#!/bin/sh\n#V2.0 Format\nmodprobe cloop") },
];

/** The magic of qcow versions 1 to 3; version 1 is a format of its own ("qcow"). */
const QCOW_MAGIC = [0x51, 0x46, 0x49, 0xfb];

/**
 * The format of an image by its first bytes, in QEMU's names: "qcow2", "raw" if nothing else matches, or a format
 * that this library does not read.
 */
export function probeFormat(firstBytes: Uint8Array): string {
  if (startsWith(firstBytes, 0, QCOW_MAGIC))
    return firstBytes[7] === 1 && firstBytes[6] === 0 ? "qcow" : "qcow2";
  const match = SIGNATURES.find(({ at, magic }) => startsWith(firstBytes, at, magic));
  if (match !== undefined) return match.format;
  return isVmdkDescriptor(firstBytes) ? "vmdk" : "raw";
}

/**
 * The format of the image in `storage`, in QEMU's names. Besides what {@link probeFormat} knows: an image of Apple's disk
 * utilities ("dmg") says so at its end only, and QEMU takes for one whatever is called so.
 * @throws Qcow2Error "io", what the storage throws
 */
export async function probeStorage(
  storage: Storage,
  { path }: { readonly path?: string | undefined } = {},
): Promise<string> {
  const bytes = new Uint8Array(PROBE_BYTES);
  const format = probeFormat(bytes.subarray(0, await storage.read(0, bytes)));
  if (format !== "raw") return format;
  if (path?.endsWith(".dmg") === true) return "dmg";
  return (await endsAsDmg(storage)) ? "dmg" : "raw";
}

/** "koly", the trailer's version, and its length of 512 bytes. */
const DMG_TRAILER = [...ascii("koly"), 0, 0, 0, 4, 0, 0, 2, 0];
/** The trailer's own length, and as much again, because files are padded to whole sectors. */
const DMG_TRAILER_REACH = 1024;

async function endsAsDmg(storage: Storage): Promise<boolean> {
  const size = await storage.size();
  const bytes = new Uint8Array(Math.min(size, DMG_TRAILER_REACH));
  if (bytes.length < DMG_TRAILER.length) return false;
  const length = await storage.read(size - bytes.length, bytes);
  for (let at = 0; at + DMG_TRAILER.length <= length; at++) {
    if (startsWith(bytes, at, DMG_TRAILER)) return true;
  }
  return false;
}

/** A descriptor of VMware's: after comments and lines of spaces, the line `version=` with a number from 1 to 3. */
function isVmdkDescriptor(bytes: Uint8Array): boolean {
  const text = String.fromCharCode(...bytes.subarray(0, PROBE_BYTES));
  return /^(#[^\n]*\n| +(\r\n|\n))*version=[123](\n|\r\n)/.test(text);
}

function startsWith(bytes: Uint8Array, at: number, magic: readonly number[]): boolean {
  return magic.every((byte, index) => bytes[at + index] === byte);
}
