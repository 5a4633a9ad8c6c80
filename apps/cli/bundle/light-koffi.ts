/** Takes the place of koffi's own entry in the bundle; `koffi-entry.cjs` says why. */
import { join } from "node:path";
import type { Plugin } from "rolldown";

export function lightKoffi(): Plugin {
  // rolldown runs this as part of one file for all of its configuration, so that there is no path relative to here.
  const entry = join(process.cwd(), "bundle/koffi-entry.cjs");
  return {
    name: "light-koffi",
    resolveId: {
      filter: { id: /^koffi$/ },
      handler: (id, importer) => (importer === entry ? { id, external: true } : entry),
    },
  };
}
