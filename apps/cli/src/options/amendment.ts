/** The `-o` options of `amend`: those of `create` that can change. */
import type { AmendOptions, Qcow2Info } from "@qcow2/core";
import { CommandError } from "../errors/command-errors.ts";
import type { ProgramName } from "../program.ts";
import { CreationOptions, optionLines } from "./creation-options.ts";
import {
  CREATION_OPTIONS,
  type CreationOption,
  isCreatableFormat,
  refusedFormat,
} from "./creation-schema.ts";
import { parseOptionList } from "./option-list.ts";

/** Names of those. */
export const AMENDABLE: readonly string[] = [
  "backing_file",
  "backing_fmt",
  "compat",
  "data_file",
  "data_file_raw",
  "lazy_refcounts",
  "refcount_bits",
  "size",
];

/** Options of which an image that is not encrypted has no use. */
const ENCRYPTION_OPTIONS: readonly CreationOption[] = [
  { name: "encrypt.iter-time", kind: "number", help: "encryption (not supported yet)" },
  { name: "encrypt.keyslot", kind: "number", help: "encryption (not supported yet)" },
  { name: "encrypt.new-secret", kind: "string", help: "encryption (not supported yet)" },
  { name: "encrypt.old-secret", kind: "string", help: "encryption (not supported yet)" },
  { name: "encrypt.state", kind: "string", help: "encryption (not supported yet)" },
];

const VERSIONS: Readonly<Record<string, 2 | 3>> = { "0.10": 2, v2: 2, "1.1": 3, v3: 3 };

/** The lines of `amend -o help`. @throws CommandError for a format whose options cannot change */
export function amendmentHelp(format: string | undefined): string {
  if (format === undefined) throw new CommandError("Expecting one image file name");
  if (!isCreatableFormat(format)) throw new CommandError(refusedFormat(format));
  if (format !== "qcow2")
    throw new CommandError(`Format driver '${format}' does not support option amendment`);
  const options = CREATION_OPTIONS.qcow2.filter(({ name }) => AMENDABLE.includes(name));
  return `Amend options for 'qcow2':\n${optionLines([...options, ...ENCRYPTION_OPTIONS])}`;
}

/**
 * What a list of options asks of the image that `info` describes.
 * @throws CommandError for what cannot change, in qemu-img's words
 */
export function parseAmendment(list: string, info: Qcow2Info, program: ProgramName): AmendOptions {
  for (const { name } of parseOptionList(list)) {
    if (ENCRYPTION_OPTIONS.some((option) => option.name === name)) {
      throw new CommandError("Can't amend encryption options - encryption not present");
    }
    if (AMENDABLE.includes(name) || !CREATION_OPTIONS.qcow2.some((option) => option.name === name)) continue;
    throw new CommandError(`Invalid parameter '${name}'`, {
      hints: ["This option is only supported for image creation"],
    });
  }
  const options = CreationOptions.parse("qcow2", list);
  refuseBackingFile(options, info, program);
  const compat = options.text("compat");
  const version = compat === undefined ? undefined : VERSIONS[compat];
  if (compat !== undefined && version === undefined) {
    throw new CommandError(`Unknown compatibility level ${compat}`);
  }
  return {
    version,
    lazyRefcounts: options.switch("lazy_refcounts"),
    refcountBits: options.number("refcount_bits"),
    dataFile: options.text("data_file"),
    dataFileRaw: options.switch("data_file_raw"),
    ...sizeOf(options),
  };
}

function sizeOf(options: CreationOptions): { readonly size?: number } {
  const size = options.number("size");
  return size === undefined ? {} : { size };
}

/** Naming the backing file that the image has, with its format, changes nothing. */
function refuseBackingFile(options: CreationOptions, info: Qcow2Info, program: ProgramName): void {
  const [file, format] = [options.text("backing_file"), options.text("backing_fmt")];
  if (file === undefined && format === undefined) return;
  const isSame = file === info.backingFile && format === info.backingFormat;
  if (isSame) return;
  throw new CommandError("Cannot amend the backing file", {
    hints: [`You can use '${program} rebase' instead.`],
  });
}
