/** All tools that run side by side. */
import type { Contestant } from "./contestant.ts";
import { findCopy } from "./copy.ts";
import { findOurs, findQemuImg, type ImageContestant } from "./image-commands.ts";
import { findRuntime } from "./runtime.ts";
import { findXenOrchestra } from "./xen-orchestra.ts";

export interface Contestants {
  /** Ours first; the qemu-img to compare with before the others. */
  readonly all: readonly Contestant[];
  /** Makes inputs and judges results: qemu-img, or ours if there is none. */
  readonly judge: ImageContestant;
}

/** @throws RangeError for what is not there */
export async function findContestants(options: {
  /** Node.js programs that our command runs on, at least one. The first runs the library, too. */
  readonly nodes: readonly string[];
  /** Minor versions, or "all"; undefined for all. */
  readonly qemu: readonly string[] | undefined;
  /** Another checkout of this repository, built, whose command runs on the same programs. */
  readonly compareWith: string | undefined;
}): Promise<Contestants> {
  const { nodes, qemu, compareWith } = options;
  const ours: ImageContestant[] = [];
  const base: Contestant[] = [];
  const runtimes: Contestant[] = [];
  for (const node of nodes) {
    ours.push(await findOurs(node));
    if (compareWith !== undefined) base.push(await findOurs(node, compareWith));
    runtimes.push(await findRuntime(node));
  }
  const releases = await findQemuImg(qemu);
  const others = [await findCopy(), await findXenOrchestra(nodes[0]!)];
  return {
    all: [...ours, ...base, ...releases, ...others.filter((other) => other !== undefined), ...runtimes],
    judge: releases[0] ?? ours[0]!,
  };
}
