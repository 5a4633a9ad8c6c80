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
  const growth = 2 * broken.image.length;
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
  const { after } = result;
  const isSound = after.corruptions + after.checkErrors === 0;
  figure(isSound ? "called sound" : "incomplete");
  if (!isSound || what === "leaks") return undefined;
  if (now === undefined) {
    const { error: why } = await guarded("open", guard, () => files.open({ readOnly: true }));
    throw new FuzzFind("repair-clean", operation, `what it calls sound cannot be opened: ${why?.message}`);
  }
  const check = await guarded("checkStorage", guard, () => checkStorage(files.image));
  if (check.error !== undefined)
    throw new FuzzFind("repair-clean", operation, `the check fails: ${check.error.message}`);
  const { corruptions, checkErrors, leaks } = check.result;
  if (corruptions + checkErrors + leaks > 0) {
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
  return { ...broken, image: files.image.content.slice(), data: files.data?.content.slice() };
}
