import type { CompressionType, ImageOptions, Preallocation } from "@qcow2/core";
import { CommandError } from "../errors/command-errors.ts";
import type { CreationOptions } from "./creation-options.ts";

const VERSIONS: Readonly<Record<string, 2 | 3>> = { "0.10": 2, v2: 2, "1.1": 3, v3: 3 };
const COMPRESSION_TYPES: readonly CompressionType[] = ["zlib", "zstd"];
export const PREALLOCATIONS: readonly Preallocation[] = ["off", "metadata", "falloc", "full"];

/**
 * What the core needs to lay out an image. Combinations are judged by the core.
 * @throws CommandError for values that are not among those of their option
 */
export function imageOptionsOf(options: CreationOptions): ImageOptions {
  return {
    version: choice("version", options.text("compat"), VERSIONS),
    clusterSize: options.number("cluster_size"),
    refcountBits: options.number("refcount_bits"),
    lazyRefcounts: options.switch("lazy_refcounts"),
    extendedL2: options.switch("extended_l2"),
    compressionType: choice(
      "compression-type",
      options.text("compression_type"),
      identity(COMPRESSION_TYPES),
    ),
    preallocation: preallocationOf(options),
  };
}

export function preallocationOf(options: CreationOptions): Preallocation | undefined {
  return choice("preallocation", options.text("preallocation"), identity(PREALLOCATIONS));
}

function choice<Value>(
  name: string,
  text: string | undefined,
  choices: Readonly<Record<string, Value>>,
): Value | undefined {
  if (text === undefined) return undefined;
  if (!Object.hasOwn(choices, text)) {
    throw new CommandError(`Parameter '${name}' does not accept value '${text}'`);
  }
  return choices[text];
}

function identity<Name extends string>(names: readonly Name[]): Readonly<Record<string, Name>> {
  return Object.fromEntries(names.map((name) => [name, name]));
}
