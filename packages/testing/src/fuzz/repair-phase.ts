/** Repairs of a broken image: nothing that could be read is lost, and what is called sound is. */
import { checkStorage, type RepairOptions, repairStorage } from "@qcow2/core";
import type { FuzzFiles } from "./build-fuzz-image.ts";
import { count, FuzzFind } from "./fuzz-find.ts";
import { guarded } from "./guarded-run.ts";
import { type ImageView, lostIn } from "./observe.ts";
import { type FuzzContext, OpenedFiles } from "./opened-files.ts";

/** The files of a repaired image that is called sound; undefined if it is not. */
export async function repair(
  broken: FuzzFiles,
  context: FuzzContext,
  { what, before }: { readonly what: RepairOptions["what"]; readonly before: ImageView | undefined },
): Promise<FuzzFiles | undefined> {
  const files = new OpenedFiles(broken, context);
  const { guard } = files;
  const operation = `repair of ${what}`;
  // What is new lies behind all that the header claims: then a table that is not there cannot come true meanwhile.
  const growth = 2 * broken.image.length + claimedRefcountTable(broken.image);
  const { result, error } = await guarded(operation, { ...guard, growth }, () =>
    repairStorage(files.image, { what }),
  );
  const figure = (name: string): void => count(context.figures, `${operation}: ${name}`);
  const now = before === undefined && error !== undefined ? undefined : await files.view();
  if (before !== undefined) {
    const lost = lostIn(before, now);
    if (lost !== undefined) throw new FuzzFind("repair-content", operation, lost);
    figure("contents compared");
  }
  if (error !== undefined) {
    figure("refused");
    return undefined;
  }
  const { after, left } = result;
  const isSound = after.corruptions + after.checkErrors === 0;
  figure(isSound ? "called sound" : "incomplete");
  if (!isSound || what === "leaks") return undefined;
  if (now === undefined) {
    const { error: why } = await guarded("open", guard, () => files.open({ readOnly: true }));
    // The metadata is sound; what is refused is to decrypt guest data, as in every image that is encrypted.
    if (why?.code === "encrypted") return undefined;
    throw new FuzzFind("repair-clean", operation, `what it calls sound cannot be opened: ${why?.message}`);
  }
  const check = await guarded("checkStorage", guard, () => checkStorage(files.image));
  if (check.error !== undefined)
    throw new FuzzFind("repair-clean", operation, `the check fails: ${check.error.message}`);
  const { corruptions, checkErrors, leaks } = check.result;
  // What was left may have clusters of its own that only look unused: they are not given back, and the result says so.
  const mayLeak = left.length > 0;
  if (corruptions + checkErrors + (mayLeak ? 0 : leaks) > 0) {
    throw new FuzzFind(
      "repair-clean",
      operation,
      `${corruptions} corruptions, ${leaks} leaks, ${checkErrors} errors are left`,
    );
  }
  const writable = await guarded("open for writing", guard, () =>
    files.open({ readOnly: false, repair: false }),
  );
  if (writable.error !== undefined) {
    throw new FuzzFind(
      "repair-clean",
      operation,
      `what it calls sound cannot be written: ${writable.error.message}`,
    );
  }
  await guarded("close", guard, () => writable.result.close());
  if (mayLeak && leaks > 0) return undefined;
  return { ...broken, image: files.image.content.slice(), data: files.data?.content.slice() };
}

/** Bytes that the header says the refcount table has, as far as it may have them. */
function claimedRefcountTable(image: Uint8Array): number {
  if (image.length < 60) return 0;
  const view = new DataView(image.buffer, image.byteOffset, image.length);
  return Math.min(view.getUint32(56) * 2 ** Math.min(view.getUint32(20), 21), 8 * 2 ** 20);
}
