/** length, info, map, alloc */
import { Qcow2Image } from "@qcow2/core";
import { qcow2Data } from "../../disks/describe-image.ts";
import { specificLines } from "../../output/image-report.ts";
import type { IoImplementation, IoOutcome } from "../io-command.ts";
import { parseBytes } from "../parse-words.ts";
import { failed } from "../refusal.ts";
import type { IoSession } from "../session.ts";
import { sizeText } from "../size-text.ts";

/** What `alloc` looks at if no length is given. */
const SECTOR_BYTES = 512;

export const lengthCommand: IoImplementation = { run: runLength };

async function runLength(_words: readonly string[], session: IoSession): Promise<IoOutcome> {
  await session.print(`${sizeText(session.image.size)}\n`);
  return "done";
}

export const infoCommand: IoImplementation = { run: runInfo };

async function runInfo(_words: readonly string[], session: IoSession): Promise<IoOutcome> {
  const { disk } = session.image;
  const { clusterSize, vmStateOffset, specific } =
    disk instanceof Qcow2Image ? qcow2Part(disk) : { clusterSize: 0, vmStateOffset: 0, specific: [] };
  const lines = [
    `format name: ${disk.format}`,
    `cluster size: ${sizeText(clusterSize)}`,
    `vm state offset: ${sizeText(vmStateOffset)}`,
    ...specific,
  ];
  await session.print(lines.map((line) => `${line}\n`).join(""));
  return "done";
}

function qcow2Part(disk: Qcow2Image): {
  readonly clusterSize: number;
  readonly vmStateOffset: number;
  readonly specific: readonly string[];
} {
  const info = disk.info();
  const { clusterSize, extendedL2 } = info;
  const bytesOfL1Entry = clusterSize * (clusterSize / (extendedL2 ? 16 : 8));
  // As long as an image can be written, its bitmaps may be about to change.
  const bitmaps = info.bitmaps.map((bitmap) => (disk.readOnly ? bitmap : { ...bitmap, inUse: true }));
  return {
    clusterSize,
    // The VM's state lies behind the disk, where the next entry of the L1 table begins.
    vmStateOffset: Math.ceil(disk.size / bytesOfL1Entry) * bytesOfL1Entry,
    specific: specificLines(qcow2Data({ ...info, bitmaps })),
  };
}

export const allocCommand: IoImplementation = {
  notes: "Backing files do not count. Without a count, one sector of 512 bytes is looked at.",
  run: runAlloc,
};

async function runAlloc(words: readonly string[], session: IoSession): Promise<IoOutcome> {
  const { image } = session;
  const [, offsetText, lengthText] = words;
  const offset = parseBytes(offsetText as string);
  const wanted = lengthText === undefined ? SECTOR_BYTES : parseBytes(lengthText);
  const length = Math.max(0, Math.min(wanted, image.size - offset));
  let allocated = 0;
  try {
    for await (const part of image.allocation(offset, length)) if (part.isAllocated) allocated += part.length;
  } catch (error) {
    throw failed("is_allocated", error);
  }
  await session.print(`${allocated}/${length} bytes allocated at offset ${sizeText(offset)}\n`);
  return "done";
}

export const mapCommand: IoImplementation = {
  notes: "Backing files do not count: see map of qcow2 for those.",
  run: runMap,
};

async function runMap(_words: readonly string[], session: IoSession): Promise<IoOutcome> {
  const { image } = session;
  const print = async ({ start, end, isAllocated }: Run): Promise<void> => {
    await session.print(
      `${bothWays(end - start)} bytes ${isAllocated ? "    allocated" : "not allocated"} at offset ${bothWays(start)}\n`,
    );
  };
  let run: Run | undefined;
  try {
    for await (const { length, isAllocated } of image.allocation(0, image.size)) {
      if (run !== undefined && run.isAllocated !== isAllocated) await print(run);
      const start: number = run?.isAllocated === isAllocated ? run.start : (run?.end ?? 0);
      run = { start, end: (run?.end ?? 0) + length, isAllocated };
    }
  } catch (error) {
    throw failed("Failed to get allocation status: map", error);
  }
  if (run !== undefined) await print(run);
  return "done";
}

/** Guest bytes, half-open. */
interface Run {
  readonly start: number;
  readonly end: number;
  readonly isAllocated: boolean;
}

function bothWays(bytes: number): string {
  return `${sizeText(bytes)} (0x${bytes.toString(16)})`;
}
