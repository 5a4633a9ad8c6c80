/** Random commands of qemu-io, in the shape of a session: changes, looks at what they did, and mistakes. */
import type { Random } from "@qcow2/testing";
import { drawOperation, ioCommand } from "../twins/twin-operations.ts";
import type { TwinShape } from "../twins/twin-shapes.ts";

/** Bytes of a hexdump, so that answers stay readable. */
const LONGEST_DUMP = 200;

/**
 * The commands of one session. Compressed writes come first: QEMU (10.0) would put later ones over data (LEDGER.md). What
 * the image itself defines is only asked for where both sides agree on it, which is without a backing file.
 */
export function drawSession(shape: TwinShape, random: Random, count: number): string[] {
  const commands = Array.from({ length: count }, () => drawCommand(shape, random));
  const isCompressed = (command: string): boolean => command.includes(" -c ");
  return [...commands.filter(isCompressed), ...commands.filter((command) => !isCompressed(command))];
}

function drawCommand(shape: TwinShape, random: Random): string {
  const { size, clusterSize, backing, hasSnapshot } = shape;
  const offset = random.below(size);
  const length = 1 + random.below(Math.min(3 * clusterSize, size - offset));
  const pattern = random.below(4);
  switch (random.below(16)) {
    case 0:
      return `read -v ${offset} ${Math.min(length, LONGEST_DUMP)}`;
    case 1:
      return `read -P ${pattern} -l ${Math.ceil(length / 2)} ${offset} ${length}`;
    case 2:
      return `readv -C -P ${pattern} ${offset} ${length} ${Math.min(9, size - offset - length)}`;
    case 3:
      return backing === undefined ? `alloc ${offset} ${length}` : "length";
    case 4:
      return backing === undefined ? "map" : "info";
    case 5:
      // Ends of a disk within a cluster have an entry of their own in the ledger.
      return hasSnapshot ? "flush" : `truncate ${Math.ceil(size / clusterSize) * clusterSize}`;
    case 6:
      return `writev -q -P ${pattern} ${offset} ${length} 0`;
    case 7:
      return `aio_write -q -P ${pattern} ${offset} ${length}`;
    case 8:
      return `write -q -z -n ${offset} ${length}`;
    case 9:
      return `write -P 1 ${size * 2} ${length}`;
    default:
      return ioCommand(drawOperation(shape, random)).replace("write -q", random.pick(["write", "write -q"]));
  }
}
