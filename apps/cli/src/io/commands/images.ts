/** open, close, reopen */

import { parseSwitch } from "../../options/enumerations.ts";
import type { OptionSpec } from "../../options/getopt.ts";
import { type ImageName, parseImageName, parseNodeName } from "../../options/image-name.ts";
import { isJsonName, parseJsonName } from "../../options/json-name.ts";
import { isOptionWithoutEffect } from "../../options/node-options.ts";
import type { NodeValue } from "../../options/node-tree.ts";
import { joinOptionLists, parseOptionList } from "../../options/option-list.ts";
import type { IoImplementation, IoOutcome } from "../io-command.ts";
import { OPEN_OPTIONS, openFlags, parseCacheMode } from "../open-flags.ts";
import { openIoImage } from "../open-io-image.ts";
import { parseWords } from "../parse-words.ts";
import { MisusedCommand, Refusal } from "../refusal.ts";
import type { IoSession } from "../session.ts";

const OPTIONS: Readonly<Record<keyof typeof OPEN_OPTIONS | "options", OptionSpec>> = {
  ...OPEN_OPTIONS,
  options: { short: "o", value: "OPTIONS", help: "driver=FMT,file.filename=PATH, ..." },
};

export const openCommand: IoImplementation = {
  options: OPTIONS,
  notes:
    "Opens PATH, or what the options tell, for the commands that follow. Only one image is open at a time.",
  run: runOpen,
};

async function runOpen(words: readonly string[], session: IoSession): Promise<IoOutcome> {
  const args = parseWords(words, OPTIONS);
  const flags = openFlags(args);
  const [path, ...rest] = args.operands;
  if (rest.length > 0) throw new MisusedCommand();
  if (session.hasImage) throw new Refusal("file open already, try 'help close'", "named");
  const lists = args.values("options");
  const name = imageName(path, lists.length === 0 ? undefined : joinOptionLists(lists));
  session.image = await openIoImage({ name, flags, codecs: session.codecs });
  return "done";
}

/** The options go before those that a name in JSON has. */
function imageName(path: string | undefined, list: string | undefined): ImageName {
  if (list === undefined && path !== undefined) return parseImageName(path);
  const values: readonly NodeValue[] = parseOptionList(list ?? "");
  const given = path ?? list ?? "";
  if (path === undefined || !isJsonName(path))
    return parseNodeName({ given, values, path, forceShare: false });
  const own = parseJsonName(path).filter(({ name }) => !values.some((value) => value.name === name));
  return parseNodeName({ given, values: [...own, ...values], forceShare: false });
}

export const closeCommand: IoImplementation = {
  notes: "Waits for everything that is under way; what was written is durable then.",
  run: runClose,
};

async function runClose(_words: readonly string[], session: IoSession): Promise<IoOutcome> {
  await session.closeImage();
  return "done";
}

const REOPEN_OPTIONS: Readonly<Record<"readOnly" | "writable" | "cache" | "options", OptionSpec>> = {
  readOnly: { short: "r", help: "for reading only" },
  writable: { short: "w", help: "for writing" },
  cache: { short: "c", value: "MODE", help: "as -t of open" },
  options: { short: "o", value: "OPTIONS", help: "read-only=off, or options that have no effect here" },
};

export const reopenCommand: IoImplementation = {
  options: REOPEN_OPTIONS,
  notes: "Without options nothing changes.",
  run: runReopen,
};

/** Only a change between reading and writing needs the file to be opened again: locks depend on it. */
async function runReopen(words: readonly string[], session: IoSession): Promise<IoOutcome> {
  const args = parseWords(words, REOPEN_OPTIONS);
  const cache = args.value("cache");
  const mode = cache === undefined ? undefined : parseCacheMode(cache);
  if (args.has("readOnly") && args.has("writable")) {
    throw new Refusal("Only one -r/-w option may be given", "named");
  }
  if (args.operands.length > 0) throw new MisusedCommand();
  const before = session.image;
  const changes = {
    readOnly: args.has("readOnly") ? true : args.has("writable") ? false : undefined,
    cache: mode,
  };
  const readOnly = changedReadOnly(args.values("options"), changes) ?? before.readOnly;
  const request = {
    ...before.request,
    name: { ...before.request.name, readOnly },
    flags: { ...before.request.flags, readOnly, cache: mode ?? before.request.flags.cache },
  };
  if (readOnly === before.readOnly) {
    await session.drain();
    session.image = before.reopened(request);
    return "done";
  }
  if (before.request.flags.temporary) {
    throw new Refusal(
      "What is written to a temporary overlay would be lost; close the image instead",
      "named",
    );
  }
  await session.closeImage();
  try {
    session.image = await openIoImage(request);
  } catch (error) {
    session.image = await openIoImage(before.request);
    throw error;
  }
  return "done";
}

/** What the lists of options say about `read-only`; all else that they may name has no effect. */
function changedReadOnly(
  lists: readonly string[],
  changes: { readonly readOnly: boolean | undefined; readonly cache: string | undefined },
): boolean | undefined {
  let { readOnly } = changes;
  const values = lists.length === 0 ? [] : parseOptionList(joinOptionLists(lists));
  for (const { name, value } of values) {
    if (name === "read-only") {
      if (changes.readOnly !== undefined) throw new Refusal("Cannot set both -r/-w and 'read-only'", "named");
      readOnly = parseSwitch(name, value);
    } else if (name.startsWith("cache.")) {
      if (changes.cache !== undefined) throw new Refusal("Cannot set both -c and the cache options", "named");
    } else if (!isOptionWithoutEffect(name)) {
      throw new Refusal(`Cannot change the option '${name}'`, "named");
    }
  }
  return readOnly;
}
