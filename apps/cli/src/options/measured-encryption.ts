/** The encryption of an image that is only measured: what of it takes space. */
import type { LuksCipher } from "@qcow2/convert";
import { CommandError } from "../errors/command-errors.ts";
import { findSecret, type Secrets } from "../objects/secret.ts";
import type { CreationOptions } from "./creation-options.ts";

const FORMATS: readonly string[] = ["aes", "luks"];

/** What the options of a LUKS volume can be, besides its cipher. */
const CHOICES: Readonly<Record<string, readonly string[]>> = {
  "hash-alg": ["md5", "sha1", "sha224", "sha256", "sha384", "sha512", "ripemd160", "sm3"],
  "ivgen-alg": ["plain", "plain64", "essiv"],
  "ivgen-hash-alg": ["md5", "sha1", "sha224", "sha256", "sha384", "sha512", "ripemd160", "sm3"],
};

/**
 * The cipher of a LUKS volume, whose header takes space; undefined for no encryption and for the older AES, which take
 * none.
 * @throws CommandError in qemu-img's words, as for an image that is made
 */
export function measuredLuks(options: CreationOptions, secrets: Secrets): LuksCipher | undefined {
  const format = options.text("encrypt.format");
  if (format !== undefined && !FORMATS.includes(format)) {
    throw new CommandError(`Unknown encryption format '${format}'`);
  }
  if (format !== "luks") return undefined;
  const secret = options.text("encrypt.key-secret");
  if (secret === undefined) {
    throw new CommandError("Parameter 'encrypt.key-secret' is required for cipher");
  }
  for (const [name, choices] of Object.entries(CHOICES)) {
    const text = options.text(`encrypt.${name}`);
    if (text !== undefined && !choices.includes(text)) {
      throw new CommandError(`Parameter '${name}' does not accept value '${text}'`);
    }
  }
  findSecret(secrets, secret);
  return { algorithm: options.text("encrypt.cipher-alg"), mode: options.text("encrypt.cipher-mode") };
}
