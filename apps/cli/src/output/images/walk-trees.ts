import type { ImageNode } from "@qcow2/node";

export interface PlacedImage {
  readonly image: ImageNode;
  /** What it lies on; undefined for the first of a tree. */
  readonly backing: ImageNode | undefined;
  /** 0 for the first of a tree. */
  readonly depth: number;
  /** The lines that lead to it from its backing file, as text. */
  readonly guide: string;
}

/** The images of `trees` in the order in which they are shown: each before those that lie on it. */
export function* walkTrees(trees: readonly ImageNode[]): Generator<PlacedImage> {
  // Not by recursion: a chain can be as long as somebody likes to make it.
  const pending: { readonly placed: PlacedImage; readonly below: string }[] = trees
    .toReversed()
    .map((image) => ({
      placed: { image, backing: undefined, depth: 0, guide: "" },
      below: "",
    }));
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { placed, below } = next;
    yield placed;
    const { image, depth } = placed;
    for (const [index, overlay] of image.overlays.toReversed().entries()) {
      const [branch, line] = index === 0 ? ["└─ ", "   "] : ["├─ ", "│  "];
      pending.push({
        placed: { image: overlay, backing: image, depth: depth + 1, guide: below + branch },
        below: below + line,
      });
    }
  }
}
