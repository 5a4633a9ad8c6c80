/** A call of qemu-io, on the images that `io-images.ts` makes. */
export interface IoCase {
  readonly args: readonly string[];
  /** Standard input; without it there is none. */
  readonly input?: string;
  /** Entries of the ledger that explain differences. */
  readonly ledger?: readonly number[];
}

/** Cases that run on the same images, one after the other. */
export interface IoCaseGroup {
  readonly name: string;
  readonly cases: readonly IoCase[];
}

/** What says that an image is raw. */
export const RAW: readonly string[] = ["-f", "raw"];

/** Commands on one image, with options of the command line in front of them. */
export function on(
  image: string,
  commands: readonly string[],
  options: readonly string[] = [],
  ledger: readonly number[] = [],
): IoCase {
  return { args: [...options, ...commands.flatMap((command) => ["-c", command]), image], ledger };
}
