/** A project outside the workspace that installs the tarballs, as a user's project would. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { execa } from "execa";
import type { Tarball } from "./pack.ts";
import { REPOSITORY } from "./published-packages.ts";

/** Creates the project in `folder` and installs; apart from the tarballs, only their dependencies are fetched. */
export async function createConsumer(folder: string, tarballs: readonly Tarball[]): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const dependencies = Object.fromEntries(tarballs.map(({ name, path }) => [name, `file:${path}`]));
  const manifest = { name: "consumer", version: "1.0.0", private: true, type: "module", dependencies };
  writeFileSync(join(folder, "package.json"), JSON.stringify(manifest, null, 2));
  await execa(
    "npm",
    ["install", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
    { cwd: folder, stdin: "ignore", env: withoutNpmSettings(), extendEnv: false },
  );
}

/** Installs the tarballs for all users of `prefix`, as `npm install -g` does. */
export async function installGlobally(prefix: string, tarballs: readonly Tarball[]): Promise<void> {
  const options = ["--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  const paths = tarballs.map(({ path }) => path);
  await execa("npm", ["install", "--global", "--prefix", prefix, ...options, ...paths], {
    stdin: "ignore",
    env: withoutNpmSettings(),
    extendEnv: false,
  });
}

/** npm passes the settings of the npm that started us (its workspace, its prefix); the consumer has its own. */
function withoutNpmSettings(): Record<string, string | undefined> {
  return Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^(npm_(config_local_prefix|package_|lifecycle_)|INIT_CWD)/i.test(name),
    ),
  );
}

/** TypeScript programs of the consumer: file name -> text. */
export type Sources = Readonly<Record<string, string>>;

/**
 * Writes a project into `folder` (below the consumer, so that it finds the installed packages) and compiles it with
 * the repository's TypeScript: strict, Node's module rules, library declarations checked too.
 * @throws if it does not compile; the error's `stdout` has the compiler's words.
 */
export async function compile(
  folder: string,
  sources: Sources,
  options: { readonly host: "node" | "browser" },
): Promise<void> {
  for (const [name, text] of Object.entries(sources)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  const host =
    options.host === "node"
      ? { types: ["node"], typeRoots: [join(REPOSITORY, "node_modules/@types")] }
      : { types: [], lib: ["ES2022", "ESNext.Disposable", "DOM"] };
  const compilerOptions = {
    target: "ES2022",
    module: "NodeNext",
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    outDir: "out",
    rootDir: ".",
    ...host,
  };
  writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module" }));
  writeFileSync(
    join(folder, "tsconfig.json"),
    JSON.stringify({ compilerOptions, files: Object.keys(sources) }),
  );
  const tsc = join(REPOSITORY, "node_modules/typescript/bin/tsc");
  await execa(process.execPath, [tsc, "-p", "tsconfig.json"], { cwd: folder, stdin: "ignore" });
}
