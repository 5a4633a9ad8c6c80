/** Finds QEMU's tools: the releases that the install script unpacked, and the one on PATH. */
import { existsSync, readdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import { QEMU_CACHE } from "./repository.ts";
import { expectSuccess, type RunOptions, runTool, type ToolResult } from "./run-tool.ts";
import { Workbench } from "./workbench.ts";

/** The release whose answers ours must equal, word for word. The others judge images. */
export const REFERENCE_MINOR = "10.0";

export type QemuTool = "qemu-img" | "qemu-io" | "qemu-nbd";

export class QemuRelease {
  /** As `qemu-img --version` says: "10.0.13". */
  readonly version: string;
  /** Where it comes from: the Debian release, or "PATH". */
  readonly origin: string;
  /** Debian's 5.2 was built without. */
  readonly hasZstd: boolean;
  readonly #commands: Readonly<Record<QemuTool, readonly [string, ...string[]]>>;

  constructor(options: {
    readonly version: string;
    readonly origin: string;
    readonly hasZstd: boolean;
    readonly commands: Readonly<Record<QemuTool, readonly [string, ...string[]]>>;
  }) {
    this.version = options.version;
    this.origin = options.origin;
    this.hasZstd = options.hasZstd;
    this.#commands = options.commands;
  }

  /** "10.0" */
  get minor(): string {
    return this.version.split(".").slice(0, 2).join(".");
  }

  /** True if this release is `minor` ("6.0") or newer. */
  atLeast(minor: string): boolean {
    return compareVersions(this.version, minor) >= 0;
  }

  /** Runs `qemu-img`; any exit code is an answer. */
  async tryImg(args: readonly string[], options?: RunOptions): Promise<ToolResult> {
    return await runTool(this.#commands["qemu-img"], args, options);
  }

  /** Runs `qemu-img`, which must succeed. */
  async img(args: readonly string[], options?: RunOptions): Promise<ToolResult> {
    return expectSuccess(`qemu-img ${args.join(" ")}`, await this.tryImg(args, options));
  }

  /** Runs `qemu-io`; any exit code is an answer. */
  async tryIo(args: readonly string[], options?: RunOptions): Promise<ToolResult> {
    return await runTool(this.#commands["qemu-io"], args, options);
  }

  /** Runs qemu-io commands on an image (by default qcow2) in one process; all must succeed. */
  async io(
    image: string,
    commands: readonly string[],
    options: RunOptions & { readonly format?: "qcow2" | "raw" } = {},
  ): Promise<ToolResult> {
    if (commands.length === 0) return { exitCode: 0, stdout: "", stderr: "" };
    const args = ["-f", options.format ?? "qcow2", ...commands.flatMap((command) => ["-c", command]), image];
    const result = expectSuccess(
      `qemu-io ${args.join(" ")}`,
      await runTool(this.#commands["qemu-io"], args, options),
    );
    // qemu-io says that a command failed, but may still exit with 0.
    if (/failed|error|invalid/i.test(result.stdout)) throw new Error(`qemu-io on ${image}: ${result.stdout}`);
    return result;
  }

  /** The program and fixed arguments of a tool, for what runs in the background. */
  command(tool: QemuTool): readonly [string, ...string[]] {
    return this.#commands[tool];
  }
}

export function compareVersions(first: string, second: string): number {
  const [a, b] = [first.split(".").map(Number), second.split(".").map(Number)];
  for (let index = 0; index < Math.min(a.length, b.length); index++) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

let found: Promise<readonly QemuRelease[]> | undefined;

/** All releases present, newest first; one for each version. */
export async function findQemuReleases(): Promise<readonly QemuRelease[]> {
  found ??= discover();
  return await found;
}

async function discover(): Promise<readonly QemuRelease[]> {
  const cached = existsSync(QEMU_CACHE)
    ? readdirSync(QEMU_CACHE).filter((name) => existsSync(join(QEMU_CACHE, name, "stamp.json")))
    : [];
  const releases = await Promise.all([...cached.map(fromCache), fromPath()]);
  const byMinor = new Map<string, QemuRelease>();
  for (const release of releases) {
    if (release !== undefined && !byMinor.has(release.minor)) byMinor.set(release.minor, release);
  }
  return [...byMinor.values()].sort((first, second) => compareVersions(second.version, first.version));
}

/** A release that was unpacked, but not installed, runs through its own dynamic loader with its own libraries. */
async function fromCache(name: string): Promise<QemuRelease | undefined> {
  const root = join(QEMU_CACHE, name);
  const folders = ["usr/lib", "lib"]
    .map((folder) => join(root, folder))
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder).map((entry) => join(folder, entry)))
    .filter((folder) => folder.endsWith("-linux-gnu"));
  const loader = folders
    .flatMap((folder) => readdirSync(folder).map((entry) => join(folder, entry)))
    .find((file) => /\/ld-linux[^/]*\.so\.[0-9]$/.test(file));
  if (loader === undefined) return undefined;
  const command = (tool: QemuTool, argv0: boolean): readonly [string, ...string[]] => [
    loader,
    ...(argv0 ? ["--argv0", tool] : []),
    "--library-path",
    folders.join(delimiter),
    join(root, "usr/bin", tool),
  ];
  // Loaders before glibc 2.33 cannot set the program's name.
  for (const argv0 of [true, false]) {
    const commands = {
      "qemu-img": command("qemu-img", argv0),
      "qemu-io": command("qemu-io", argv0),
      "qemu-nbd": command("qemu-nbd", argv0),
    };
    const version = await versionOf(commands["qemu-img"]);
    if (version === undefined) continue;
    return new QemuRelease({ version, origin: name, commands, hasZstd: await canZstd(commands["qemu-img"]) });
  }
  return undefined;
}

async function fromPath(): Promise<QemuRelease | undefined> {
  const version = await versionOf(["qemu-img"]);
  if (version === undefined) return undefined;
  return new QemuRelease({
    version,
    origin: "PATH",
    hasZstd: await canZstd(["qemu-img"]),
    commands: { "qemu-img": ["qemu-img"], "qemu-io": ["qemu-io"], "qemu-nbd": ["qemu-nbd"] },
  });
}

async function canZstd(command: readonly [string, ...string[]]): Promise<boolean> {
  using bench = new Workbench("zstd");
  const args = ["create", "-f", "qcow2", "-o", "compression_type=zstd", "image", "1M"];
  const { exitCode } = await runTool(command, args, { cwd: bench.folder });
  return exitCode === 0;
}

async function versionOf(command: readonly [string, ...string[]]): Promise<string | undefined> {
  try {
    const { exitCode, stdout } = await runTool(command, ["--version"]);
    return exitCode === 0 ? /version (\d+\.\d+(?:\.\d+)?)/.exec(stdout)?.[1] : undefined;
  } catch {
    return undefined;
  }
}
