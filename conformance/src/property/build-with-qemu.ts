import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  contentOf,
  type DrawnChain,
  type DrawnOperation,
  type DrawnQcow2Layer,
  layersOf,
  modelOf,
} from "@qcow2/testing";
import type { QemuRelease } from "../qemu-release.ts";
import { expectSuccess, runTool } from "../run-tool.ts";
import { createOptionsOf, layerBelow, layerName } from "./layer-files.ts";
import { writeModelTo } from "./raw-file.ts";

/** The names of the snapshots that were made in the top layer. */
export interface BuiltWithQemu {
  readonly snapshots: readonly string[];
}

/** Makes a drawn chain in `folder`, each qcow2 layer with qemu-img and qemu-io. */
export async function buildWithQemu(
  chain: DrawnChain,
  folder: string,
  qemu: QemuRelease,
): Promise<BuiltWithQemu> {
  let snapshots: readonly string[] = [];
  for (const layer of layersOf(chain)) {
    const name = layerName(chain, layer);
    if (layer.format === "raw") {
      await writeModelTo(join(folder, name), await modelOf(layer, undefined), layer.size);
      continue;
    }
    const below = layerBelow(chain, layer);
    const backing = below === undefined ? [] : ["-b", layerName(chain, below), "-F", below.format];
    const options = createOptionsOf(layer, folder, name);
    await qemu.img(["create", "-q", "-f", "qcow2", "-o", options, ...backing, name, String(layer.size)], {
      cwd: folder,
    });
    snapshots = await runOperations({ layer, name, folder, qemu });
  }
  return { snapshots };
}

async function runOperations(options: {
  readonly layer: DrawnQcow2Layer;
  readonly name: string;
  readonly folder: string;
  readonly qemu: QemuRelease;
}): Promise<readonly string[]> {
  const { layer, name, folder, qemu } = options;
  const snapshots: string[] = [];
  let batch: string[] = [];
  const runBatch = async (): Promise<void> => {
    if (batch.length > 0) await ioWithRefusals({ qemu, name, folder, commands: batch });
    batch = [];
  };
  for (const [index, operation] of layer.operations.entries()) {
    if (operation.kind !== "snapshot") {
      batch.push(ioCommand(operation, { folder, file: `${name}.content${index}` }));
      continue;
    }
    await runBatch();
    const snapshot = `snapshot ${index}`;
    const result = await qemu.tryImg(["snapshot", "-c", snapshot, name], { cwd: folder });
    // With narrow refcounts, one snapshot more can be one too many.
    if (result.exitCode === 0) snapshots.push(snapshot);
    else if (!/too large|Invalid argument|out of range/i.test(result.stderr))
      expectSuccess("snapshot", result);
  }
  await runBatch();
  return snapshots;
}

function ioCommand(
  operation: DrawnOperation,
  place: { readonly folder: string; readonly file: string },
): string {
  const { kind, offset, length } = operation;
  if (kind === "write-zeroes") return `write -z ${offset} ${length}`;
  if (kind === "unmap") return `write -zu ${offset} ${length}`;
  if (kind === "discard") return `discard ${offset} ${length}`;
  writeFileSync(join(place.folder, place.file), contentOf(operation));
  return `write ${kind === "write-compressed" ? "-c " : ""}-s ${place.file} ${offset} ${length}`;
}

/** QEMU refuses some requests (a compressed write over a cluster in use); then the image stays as it was. */
async function ioWithRefusals(options: {
  readonly qemu: QemuRelease;
  readonly name: string;
  readonly folder: string;
  readonly commands: readonly string[];
}): Promise<void> {
  const { qemu, name, folder, commands } = options;
  const args = ["-f", "qcow2", ...commands.flatMap((command) => ["-c", command]), name];
  const result = await runTool(qemu.command("qemu-io"), args, { cwd: folder });
  const failures = result.stdout.match(/^.*failed: .*$/gm) ?? [];
  const unexpected = failures.filter((line) => !/Input\/output error|Operation not supported/.test(line));
  if (unexpected.length > 0 || (result.exitCode !== 0 && failures.length === 0)) {
    expectSuccess(`qemu-io ${args.join(" ")}`, { ...result, exitCode: result.exitCode || 1 });
  }
}
