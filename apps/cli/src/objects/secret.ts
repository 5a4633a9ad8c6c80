/** Objects of the type `secret`: the bytes of a password or a key, given as they are, in a file, or encrypted. */
import { createDecipheriv } from "node:crypto";
import { readFile } from "node:fs/promises";
import { encodeText } from "@qcow2/core";
import { hostPath } from "@qcow2/node";
import { CommandError } from "../errors/command-errors.ts";
import { describeError } from "../errors/describe-error.ts";

/** Secrets by id. */
export type Secrets = ReadonlyMap<string, Uint8Array>;

export const SECRET_PROPERTIES: readonly string[] = ["data", "file", "format", "iv", "keyid"];

/**
 * The secret that the properties describe; `others` are those that it may be encrypted with.
 * @throws CommandError in qemu-img's words
 */
export async function readSecret(
  properties: ReadonlyMap<string, string>,
  others: Secrets,
): Promise<Uint8Array> {
  const format = properties.get("format") ?? "raw";
  if (format !== "raw" && format !== "base64") {
    throw new CommandError(`Parameter 'format' does not accept value '${format}'`);
  }
  const stored = await storedBytes(properties);
  const keyId = properties.get("keyid");
  if (keyId === undefined) return format === "base64" ? decodeBase64(stored) : stored;
  const key = findSecret(others, keyId);
  const iv = properties.get("iv");
  if (key.length !== KEY_BYTES) throw new CommandError(`Key should be ${KEY_BYTES} bytes in length`);
  if (iv === undefined) throw new CommandError("IV is required to decrypt secret");
  return decrypt(format === "base64" ? decodeBase64(stored) : stored, key, decodeBase64(Buffer.from(iv)));
}

/** @throws CommandError if there is no such secret */
export function findSecret(secrets: Secrets, id: string): Uint8Array {
  const secret = secrets.get(id);
  if (secret === undefined) throw new CommandError(`No secret with id '${id}'`);
  return secret;
}

const KEY_BYTES = 32;
const BLOCK_BYTES = 16;

async function storedBytes(properties: ReadonlyMap<string, string>): Promise<Uint8Array> {
  const [data, file] = [properties.get("data"), properties.get("file")];
  if (data !== undefined && file !== undefined) {
    throw new CommandError("'file' and 'data' are mutually exclusive");
  }
  if (data !== undefined) return encodeText(data);
  if (file === undefined) throw new CommandError("Either 'file' or 'data' must be provided");
  try {
    return await readFile(hostPath(file));
  } catch (error) {
    const reason = describeError(error)?.replace(`'${file}': `, "");
    if (reason === undefined) throw error;
    throw new CommandError(`Unable to read ${file}: Failed to open file “${file}”: ${reason}`, {
      cause: error,
    });
  }
}

function decodeBase64(text: Uint8Array): Uint8Array {
  const characters = Buffer.from(text).toString("latin1");
  if (!/^[A-Za-z0-9+/=\n]*$/.test(characters)) {
    throw new CommandError("Base64 data contains invalid characters");
  }
  return Buffer.from(characters, "base64");
}

/** AES-256-CBC; the last byte says how many bytes of the last block are padding. */
function decrypt(ciphertext: Uint8Array, key: Uint8Array, iv: Uint8Array): Uint8Array {
  if (iv.length !== BLOCK_BYTES) {
    throw new CommandError(`IV should be ${BLOCK_BYTES} bytes in length not ${iv.length}`);
  }
  if (ciphertext.length % BLOCK_BYTES !== 0) {
    throw new CommandError(`Length ${ciphertext.length} must be a multiple of block size ${BLOCK_BYTES}`);
  }
  if (ciphertext.length === 0) return ciphertext;
  const cipher = createDecipheriv("aes-256-cbc", key, iv).setAutoPadding(false);
  const plain = Buffer.concat([cipher.update(ciphertext), cipher.final()]);
  const padding = plain[plain.length - 1]!;
  if (padding === 0 || padding > BLOCK_BYTES) {
    throw new CommandError(`Incorrect number of padding bytes (${padding}) found on decrypted data`);
  }
  return plain.subarray(0, plain.length - padding);
}
