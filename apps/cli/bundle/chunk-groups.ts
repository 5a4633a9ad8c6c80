/**
 * Which modules share a file. Left alone, the bundler makes a chunk for every set of subcommands that share something,
 * which is dozens of small files to read. Here they are few, and `info`, which scripts call most, gets no more than it
 * needs, and neither does a worker thread.
 */
import { type CodeSplittingGroup, type OutputChunk, rolldown } from "rolldown";
import { INPUT, OUTPUT } from "./options.ts";

export async function chunkGroups(): Promise<CodeSplittingGroup[]> {
  const { run, info, check, ...workers } = await modulesByEntry({
    run: "src/run.ts",
    info: "src/commands/info.ts",
    check: "src/commands/check.ts",
  });
  const inOrder: CodeSplittingGroup[] = [
    // What every call needs.
    { name: "run", test: (id) => run!.has(id) },
    // What `info` needs besides; most others need that, too.
    { name: "describe", test: (id) => info!.has(id) },
    // What `check` needs besides; what reads and writes guest data it does not.
    { name: "checking", test: (id) => check!.has(id) },
    // What a worker shares with the thread that starts it.
    ...Object.entries(workers).map(([name, modules]) => ({
      name: `${name}-parts`,
      test: (id: string) => modules.has(id),
      minShareCount: 2,
    })),
    // What reads and writes guest data, checks and repairs.
    { name: "engine", test: /[\\/]packages[\\/](core|node)[\\/]/, minShareCount: 2 },
    { name: "io-session", test: /[\\/]src[\\/]io[\\/]/, minShareCount: 2 },
    { name: "common", minShareCount: 2 },
  ];
  return inOrder.map((group, index) => ({
    ...group,
    priority: inOrder.length - index,
    includeDependenciesRecursively: false,
  }));
}

type ModuleIds = ReadonlySet<string>;

/** By the names of `input` and of the files of workers: the modules that each needs once it is loaded. */
async function modulesByEntry(input: Readonly<Record<string, string>>): Promise<Record<string, ModuleIds>> {
  const build = await rolldown({ ...INPUT, input });
  try {
    // Every set of entries that share something has a chunk, so that no chunk holds what an entry could do without.
    const { output } = await build.generate(OUTPUT);
    const chunks = output.filter((file) => file.type === "chunk");
    const entries = chunks.filter(
      ({ isEntry, isDynamicEntry, name }) => name in input || (isEntry && !isDynamicEntry),
    );
    return Object.fromEntries(entries.map((entry) => [entry.name, modulesOf(entry, chunks)]));
  } finally {
    await build.close();
  }
}

/** Without what `entry` may import later. */
function modulesOf(entry: OutputChunk, chunks: readonly OutputChunk[]): ModuleIds {
  const needed = new Set([entry]);
  for (const { imports } of needed) {
    for (const chunk of chunks) if (imports.includes(chunk.fileName)) needed.add(chunk);
  }
  return new Set([...needed].flatMap(({ moduleIds }) => moduleIds));
}
