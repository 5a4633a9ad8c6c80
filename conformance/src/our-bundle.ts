/** The command's bundle, loaded into this process. */
import { createRequire } from "node:module";
import { join } from "node:path";
import { REPOSITORY } from "./repository.ts";

const require = createRequire(import.meta.url);

/**
 * What the bundle's entry exports. By `require`, as the command itself loads it: vitest makes a module of its own of a
 * file that is imported, and the bundle's other files would then have the entry twice, with two of every class.
 */
export function loadOurBundle(): unknown {
  return require(join(REPOSITORY, "apps/cli/dist/run.cjs"));
}
