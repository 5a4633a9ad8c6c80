/** What the suites demand of every image, whatever was done to it. */
import type { Qcow2Image } from "@qcow2/core";

/** Throws if the check finds a corruption or could not look at something; with `noLeaks`, also at a leak. */
export async function expectNoCorruption(
  image: Qcow2Image,
  { noLeaks = false }: { readonly noLeaks?: boolean } = {},
): Promise<void> {
  const findings: string[] = [];
  const { corruptions, checkErrors, leaks } = await image.check({
    onFinding: ({ severity, message }) => {
      if ((severity !== "leak" || noLeaks) && findings.length < 5) findings.push(message);
    },
  });
  if (corruptions > 0 || checkErrors > 0 || (noLeaks && leaks > 0)) {
    throw new Error(`the check finds ${findings.join("; ")}`);
  }
}

/** All guest bytes. */
export async function readAll(image: Qcow2Image): Promise<Uint8Array> {
  const bytes = new Uint8Array(image.size).fill(0xa5);
  await image.read({ offset: 0, into: bytes });
  return bytes;
}

/** Milliseconds after which work that only waits for memory has hung. */
const HUNG_AFTER_MS = 20_000;

/** What `work` answers; throws if it never does. */
export async function expectEnd<Result>(what: string, work: Promise<Result>): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  const hung = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} hangs`)), HUNG_AFTER_MS);
  });
  try {
    return await Promise.race([work, hung]);
  } finally {
    clearTimeout(timer);
  }
}
