/** How the command is bundled, whatever becomes of the bundle. */
import type { InputOptions, OutputOptions, Plugin } from "rolldown";
import { lightKoffi } from "./light-koffi.ts";
import { workerFiles } from "./worker-files.ts";

export const INPUT: InputOptions & { readonly plugins: readonly Plugin[] } = {
  platform: "node",
  transform: { target: "node20.19" },
  preserveEntrySignatures: "allow-extension",
  plugins: [lightKoffi(), workerFiles()],
};

/**
 * CommonJS, because Node.js starts it faster: no loader to set up, no promise for each file. Not minified: what is left
 * out by splitting saves more, and a stack trace that somebody sends should say where it comes from.
 */
export const OUTPUT: OutputOptions = {
  format: "cjs",
  dynamicImportInCjs: false,
  comments: { legal: true, annotation: false, jsdoc: false },
};
