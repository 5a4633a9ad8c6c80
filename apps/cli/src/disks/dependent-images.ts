/** Images that change when somebody writes to a backing file that they share. */
import path from "node:path";
import { findOverlays } from "@qcow2/node";

const NAMED_AT_MOST = 3;

/**
 * A sentence about the images that lie on one of the layers 1 .. `depth` of a chain without being part of it, as far as
 * they lie in the folders of the first and the last of these layers; undefined if there are none. `layers` are the
 * chain's paths, topmost first.
 */
export async function describeDependentImages(
  layers: readonly string[],
  depth: number,
): Promise<string | undefined> {
  const below = layers.slice(1, depth + 1);
  const folders = [layers[0], below.at(-1)].map((file) => path.dirname(file ?? "."));
  const found = await findOverlays({ of: below, directories: [...new Set(folders)], except: layers });
  if (found.length === 0) return undefined;
  const named = found.slice(0, NAMED_AT_MOST).map((file) => `'${file}'`);
  const more = found.length - named.length;
  const list = more > 0 ? `${named.join(", ")} and ${more} more` : named.join(", ");
  const verb = found.length === 1 ? "reads" : "read";
  return `${list} ${verb} '${below.at(-1)}' as well, and would have other content afterwards`;
}
