/** Backing chains made by QEMU's tools, from short descriptions. */
import type { QemuRelease } from "./qemu-release.ts";

export interface ChainLayer {
  /** "raw", or options of a qcow2 image. */
  readonly options: string;
  /** KiB. */
  readonly size: number;
  /** What qemu-io does with it; what lies beyond its end is left out. */
  readonly writes: readonly string[];
  /** Takes an internal snapshot, and writes once more. */
  readonly snapshot?: boolean;
}

/** Makes images of these names in `cwd`, each the backing file of the next. */
export async function buildChain(
  qemu: QemuRelease,
  layers: readonly ChainLayer[],
  names: readonly string[],
  cwd: string,
): Promise<void> {
  for (const [index, { options, size, writes, snapshot }] of layers.entries()) {
    const name = names[index]!;
    const format = formatOf(options);
    const below = layers[index - 1];
    const backing = below === undefined ? [] : ["-b", names[index - 1]!, "-F", formatOf(below.options)];
    const given = format === "raw" ? [] : ["-o", options];
    await qemu.img(["create", "-q", "-f", format, ...given, ...backing, name, `${size}k`], { cwd });
    const fitting = writes.filter((write) => endOf(write) <= size);
    await qemu.io(name, fitting, { cwd, format });
    if (snapshot !== true) continue;
    await qemu.img(["snapshot", "-c", "kept", name], { cwd });
    await qemu.io(name, ["write -P 20 32k 200k"], { cwd });
  }
}

function formatOf(options: string): "raw" | "qcow2" {
  return options === "raw" ? "raw" : "qcow2";
}

/** Where a command of qemu-io ends, in KiB: its last two numbers are offset and length. */
function endOf(command: string): number {
  const numbers = (command.match(/\b\d+[kM]?\b/g) ?? []).slice(-2);
  return numbers.reduce((sum, text) => sum + Number.parseInt(text, 10) * (text.endsWith("M") ? 1024 : 1), 0);
}
