/** The check of metadata that was just written, before a header switches to it. */
import type { Storage } from "../../storage/storage.ts";
import type { CheckOptions, CheckResult } from "../check-result.ts";
import type { ImageLayout } from "../image-layout.ts";
import { checkImage } from "./check-image.ts";

/**
 * As {@link checkImage}, but storage that cannot be read is no finding about the image: it is thrown.
 * @throws Qcow2Error "io", and what {@link checkImage} throws
 */
export async function checkNewMetadata(
  { storage, layout }: { readonly storage: Storage; readonly layout: ImageLayout },
  options: Pick<CheckOptions, "signal" | "memoryBytes" | "onFinding">,
): Promise<CheckResult> {
  let failure: { readonly error: unknown } | undefined;
  const watch = async <Result>(work: Promise<Result>): Promise<Result> => {
    try {
      return await work;
    } catch (error) {
      failure ??= { error };
      throw error;
    }
  };
  const read: Storage["read"] = (offset, into) => watch(storage.read(offset, into));
  const size: Storage["size"] = () => watch(storage.size());
  const observed = new Proxy(storage, {
    get(target, key) {
      if (key === "read") return read;
      if (key === "size") return size;
      const member: unknown = Reflect.get(target, key, target);
      return typeof member === "function" ? member.bind(target) : member;
    },
  });
  const result = await checkImage({ storage: observed, layout }, options);
  if (failure !== undefined) throw failure.error;
  return result;
}
