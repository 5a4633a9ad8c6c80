/** Puts images that know their backing files into trees: in order, judged from the bottom up. */
import type { CollectedImage } from "./collect-images.ts";
import { findProblems, healthOf } from "./find-problems.ts";
import type { ImageNode, ImageProblem } from "./image-tree.ts";

export type ImageOrder = "name" | "virtual-size" | "actual-size" | "modified";

export interface ArrangeOptions {
  readonly order: ImageOrder;
  readonly reverse: boolean;
}

/** A tree that is being built: what counts for its place among others is taken from all of it. */
interface Branch {
  readonly node: ImageNode;
  readonly weight: number;
}

/** Trees of `images`, each of which appears once. */
export function arrangeTrees(images: readonly CollectedImage[], options: ArrangeOptions): ImageNode[] {
  const byName = [...images].sort((a, b) => compareNames(a.path, b.path));
  const cuts = loopCuts(byName);
  const overlays = new Map<CollectedImage, CollectedImage[]>();
  const roots: CollectedImage[] = [];
  for (const image of byName) {
    const { backing } = image;
    if (backing === undefined || cuts.has(image)) roots.push(image);
    else if (overlays.get(backing)?.push(image) === undefined) overlays.set(backing, [image]);
  }
  // Bases before their overlays, because what is wrong with a base is wrong with what lies on it.
  const downwards = [...roots];
  for (let index = 0; index < downwards.length; index++) {
    for (const overlay of overlays.get(downwards[index]!) ?? []) downwards.push(overlay);
  }
  const problems = judge(downwards, cuts);
  const branches = new Map<CollectedImage, Branch>();
  for (const image of downwards.reverse()) {
    const above = (overlays.get(image) ?? []).map((overlay) => branches.get(overlay)!);
    branches.set(image, branchOf(image, problems.get(image)!, inOrder(above, options), options.order));
  }
  return inOrder(
    roots.map((root) => branches.get(root)!),
    options,
  ).map(({ node }) => node);
}

/**
 * The images that begin the drawing of a chain that loops: in each loop the first one. Chains are followed down, and
 * what was followed before is not followed again.
 */
function loopCuts(
  images: readonly CollectedImage[],
): ReadonlyMap<CollectedImage, ReadonlySet<CollectedImage>> {
  const cuts = new Map<CollectedImage, ReadonlySet<CollectedImage>>();
  const rank = new Map(images.map((image, index) => [image, index]));
  const walkOf = new Map<CollectedImage, CollectedImage>();
  for (const start of images) {
    let image: CollectedImage | undefined = start;
    for (; image !== undefined && !walkOf.has(image); image = image.backing) walkOf.set(image, start);
    if (image === undefined || walkOf.get(image) !== start) continue;
    const loop = new Set<CollectedImage>();
    let first = image;
    for (let member = image; !loop.has(member); member = member.backing!) {
      loop.add(member);
      if (rank.get(member)! < rank.get(first)!) first = member;
    }
    cuts.set(first, loop);
  }
  return cuts;
}

function judge(
  downwards: readonly CollectedImage[],
  cuts: ReadonlyMap<CollectedImage, ReadonlySet<CollectedImage>>,
): ReadonlyMap<CollectedImage, readonly ImageProblem[]> {
  const inLoop = new Set([...cuts.values()].flatMap((loop) => [...loop]));
  const problems = new Map<CollectedImage, readonly ImageProblem[]>();
  for (const image of downwards) {
    const below = image.backing === undefined ? undefined : (problems.get(image.backing) ?? []);
    const isLoop = inLoop.has(image);
    problems.set(image, findProblems(image, below === undefined ? undefined : { problems: below, isLoop }));
  }
  return problems;
}

function branchOf(
  image: CollectedImage,
  problems: readonly ImageProblem[],
  overlays: readonly Branch[],
  order: ImageOrder,
): Branch {
  const { content, facts, dataFile, check } = image;
  const node: ImageNode = {
    path: image.path,
    otherPaths: image.otherPaths,
    isListed: image.isListed,
    format: content.format,
    virtualSize: content.virtualSize,
    actualSize: facts === undefined ? undefined : facts.actualSize + (dataFile?.facts?.actualSize ?? 0),
    modified: facts?.modified,
    info: content.info,
    use: content.use,
    check: check !== undefined && "result" in check ? check.result : undefined,
    problems,
    health: healthOf(problems),
    overlays: overlays.map(({ node: overlay }) => overlay),
  };
  const weights = overlays.map(({ weight }) => weight);
  const own = ownWeight(node, order);
  const weight = order === "actual-size" ? sum([own, ...weights]) : largest([own, ...weights]);
  return { node, weight };
}

function ownWeight({ virtualSize, actualSize, modified }: ImageNode, order: ImageOrder): number {
  if (order === "virtual-size") return virtualSize ?? 0;
  if (order === "actual-size") return actualSize ?? 0;
  return order === "modified" ? (modified?.getTime() ?? 0) : 0;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function largest(numbers: readonly number[]): number {
  return numbers.reduce((found, number) => Math.max(found, number));
}

/** By name, or the largest and the newest first. */
function inOrder(branches: readonly Branch[], { order, reverse }: ArrangeOptions): readonly Branch[] {
  const sorted = branches.toSorted((a, b) =>
    order === "name" || a.weight === b.weight ? compareNames(a.node.path, b.node.path) : b.weight - a.weight,
  );
  return reverse ? sorted.reverse() : sorted;
}

const collator = new Intl.Collator("en", { numeric: true });

/** As people count: disk-2 before disk-10. The same on every machine. */
function compareNames(a: string, b: string): number {
  return collator.compare(a, b) || (a < b ? -1 : Number(a > b));
}
