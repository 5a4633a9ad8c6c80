/** The packages that users install. */
import { join } from "node:path";

export const REPOSITORY: string = join(import.meta.dirname, "../../..");

export interface PublishedPackage {
  readonly name: string;
  /** Folder, relative to the repository. */
  readonly folder: string;
  /** Its `dist` is a bundle that holds all that it needs, instead of a file for each source. */
  readonly isBundle?: boolean;
}

export const PUBLISHED_PACKAGES: readonly PublishedPackage[] = [
  { name: "@qcow2/core", folder: "packages/core" },
  { name: "@qcow2/node", folder: "packages/node" },
  { name: "@qcow2/convert", folder: "packages/convert" },
  { name: "@qcow2/zstd", folder: "packages/zstd" },
  { name: "qcow2", folder: "apps/cli", isBundle: true },
];

/** What `package.json` says, as far as the tests look. */
export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license?: string;
  readonly private?: boolean;
  readonly engines?: Readonly<Record<string, string>>;
  readonly bin?: Readonly<Record<string, string>>;
  /** Manual pages. npm links them only if this is a list. */
  readonly man?: readonly string[];
  readonly exports?: Readonly<Record<string, string | { readonly types?: string; readonly default: string }>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}
