/** Bundles the command into `dist`, so that starting it reads a few files instead of a few hundred. */
import type { RolldownOptions } from "rolldown";
import { chunkGroups } from "./bundle/chunk-groups.ts";
import { INPUT, OUTPUT } from "./bundle/options.ts";
import { thirdPartyNotices } from "./bundle/third-party-notices.ts";

const config: RolldownOptions = {
  ...INPUT,
  input: { run: "src/run.ts" },
  plugins: [...INPUT.plugins, thirdPartyNotices()],
  output: {
    ...OUTPUT,
    dir: "dist",
    cleanDir: true,
    entryFileNames: "[name].cjs",
    // A process whose package is replaced while it runs finds the chunk that it was built with, or none.
    chunkFileNames: "[name]-[hash].cjs",
    codeSplitting: { groups: await chunkGroups() },
  },
};

export default config;
