/** `--object`: what is defined on the command line for other options to refer to. */
import { CommandError } from "../errors/command-errors.ts";
import { parseObjectProperties } from "./key-values.ts";
import { readSecret, SECRET_PROPERTIES, type Secrets } from "./secret.ts";

/** Types that qemu-img knows, and that nothing here has a use for. */
const OTHER_TYPES: readonly string[] = [
  "authz-list",
  "authz-list-file",
  "authz-pam",
  "authz-simple",
  "iothread",
  "main-loop",
  "pr-manager-helper",
  "secret_keyring",
  "thread-context",
  "throttle-group",
  "tls-cipher-suites",
  "tls-creds-anon",
  "tls-creds-psk",
  "tls-creds-x509",
];

export type DefinedObjects =
  | { readonly kind: "objects"; readonly secrets: Secrets }
  | { readonly kind: "help"; readonly text: string };

/**
 * Defines the objects in order; a later one may refer to those before it. A definition that asks for help ends it.
 * @throws CommandError in qemu-img's words
 */
export async function defineObjects(definitions: readonly string[]): Promise<DefinedObjects> {
  const secrets = new Map<string, Uint8Array>();
  for (const definition of definitions) {
    const { values, help } = parseObjectProperties(definition);
    const type = values.get("qom-type");
    if (help) return { kind: "help", text: helpOn(type) };
    if (type === undefined) throw new CommandError("Parameter 'qom-type' is missing");
    assertSecret(type);
    const id = values.get("id");
    if (id === undefined) throw new CommandError("Parameter 'id' is missing");
    for (const name of values.keys()) {
      if (name !== "qom-type" && name !== "id" && !SECRET_PROPERTIES.includes(name)) {
        throw new CommandError(`Parameter '${name}' is unexpected`);
      }
    }
    const secret = await readSecret(values, secrets);
    if (!/^[A-Za-z][A-Za-z0-9_.-]*$/.test(id)) {
      throw new CommandError(
        "Parameter 'id' expects an identifier (letters, digits, '-', '.', '_', starting with a letter)",
      );
    }
    if (secrets.has(id)) {
      throw new CommandError(`attempt to add duplicate property '${id}' to object (type 'container')`);
    }
    secrets.set(id, secret);
  }
  return { kind: "objects", secrets };
}

function assertSecret(type: string): void {
  if (type === "secret") return;
  if (OTHER_TYPES.includes(type)) {
    throw new CommandError(`Objects of the type '${type}' are not supported (only 'secret' is)`);
  }
  throw new CommandError(`Parameter 'qom-type' does not accept value '${type}'`);
}

function helpOn(type: string | undefined): string {
  if (type === undefined) return "List of user creatable objects:\n  secret\n";
  assertSecret(type);
  const lines = SECRET_PROPERTIES.map(
    (name) => `  ${name}=<${name === "format" ? "QCryptoSecretFormat" : "string"}>\n`,
  );
  return `secret options:\n${lines.join("")}`;
}
