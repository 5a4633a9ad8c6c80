/** The cases of the engine's benchmark. */
import type { EngineCase, Subject } from "./engine-results.ts";

const KIB = 1024;
const REQUESTS = ["read", "write"] as const;
const ORDERS = ["sequential", "random"] as const;
const SIZES = [4 * KIB, 64 * KIB] as const;
const DEPTHS = [1, 16] as const;

/** The control first: what it differs from 1 is what the method cannot tell. */
export const ENGINE_CASES: readonly EngineCase[] = [
  ...casesOf("control", REQUESTS),
  ...casesOf("allocated", REQUESTS),
  ...casesOf("fresh", ["write"]),
  ...casesOf("overlay", ["read"]),
];

function casesOf(subject: Subject, requests: readonly EngineCase["request"][]): EngineCase[] {
  return requests.flatMap((request) =>
    ORDERS.flatMap((order) =>
      SIZES.flatMap((bytes) => DEPTHS.map((depth) => ({ subject, request, order, bytes, depth }))),
    ),
  );
}

const SUBJECTS: Readonly<Record<Subject, string>> = {
  control: "control: a second raw file",
  allocated: "allocated image",
  fresh: "new clusters",
  overlay: "through a backing file",
};

/** "allocated image, random 4 KiB read, depth 16". */
export function titleOf({ subject, order, bytes, request, depth }: EngineCase): string {
  return `${SUBJECTS[subject]}, ${order} ${bytes / KIB} KiB ${request}, depth ${depth}`;
}
