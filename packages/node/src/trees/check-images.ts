/** The full check of many images, a few at a time. */
import { type CheckResult, checkStorage, isQcow2Error, type Qcow2Error } from "@qcow2/core";
import { FileStorage } from "../file/file-storage.ts";
import type { CollectedImage } from "./collect-images.ts";
import { forEach } from "./for-each.ts";

/** What came of checking an image. */
export type CheckOutcome = { readonly result: CheckResult } | { readonly error: Qcow2Error };

export interface CheckImagesOptions {
  readonly signal?: AbortSignal | undefined;
  /** Bytes of image files that were checked, of those that are to be. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** One check waits for the disk while another one computes; more at a time would only take more memory. */
const CHECKS_AT_ONCE = 4;
/** For the reference counts of one check, bytes; together as much as a single check takes by itself. */
const CHECK_BYTES = 16 * 2 ** 20;

/**
 * Checks the qcow2 images among `images` that are listed, and notes in them what came of it. An image that another
 * process writes to is not checked: its tables change meanwhile.
 * @throws the signal's reason
 */
export async function checkImages(
  images: readonly CollectedImage[],
  { signal, onProgress }: CheckImagesOptions,
): Promise<void> {
  const wanted = images.filter(({ isListed, content }) => isListed && content.format === "qcow2");
  const weight = ({ facts }: CollectedImage): number => facts?.actualSize ?? 0;
  const total = wanted.reduce((sum, image) => sum + weight(image), 0);
  let done = 0;
  await forEach(wanted, CHECKS_AT_ONCE, async (image) => {
    let counted = 0;
    const report = (fraction: number): void => {
      const bytes = fraction * weight(image);
      done += bytes - counted;
      counted = bytes;
      onProgress?.(done, total);
    };
    image.check = await checkOne(image.path, { signal, onProgress: report });
    report(1);
  });
}

async function checkOne(
  path: string,
  options: { readonly signal: AbortSignal | undefined; readonly onProgress: (fraction: number) => void },
): Promise<CheckOutcome> {
  options.signal?.throwIfAborted();
  try {
    await using storage = await FileStorage.open(path, { readOnly: true });
    return { result: await checkStorage(storage, { ...options, memoryBytes: CHECK_BYTES }) };
  } catch (error) {
    if (!isQcow2Error(error)) throw error;
    return { error };
  }
}
