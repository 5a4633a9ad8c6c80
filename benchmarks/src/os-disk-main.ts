/** The command `os-disk`: see its help. */
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { isUsageError } from "./command-line.ts";
import { DEFAULT_OS_DISK, makeOsDisk, OsDiskError } from "./os-disk.ts";
import { formatBytes, parseBytes } from "./report/units.ts";

const HELP = `Usage: npm run os-disk -w @qcow2/benchmarks -- --output FILE [--size 10G] [--suite trixie]

Makes a sparse raw disk that holds an ext4 file system with a real Debian tree (about 700 MiB of files), for
benchmarks and conformance. Needs Linux, mmdebstrap, mke2fs (e2fsprogs), a Debian mirror, and root or a sudo that asks
nothing. Takes about a minute. Identifiers and file times are fixed; the packages are those of the mirror's day.
`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      output: { type: "string", short: "o" },
      size: { type: "string", default: String(DEFAULT_OS_DISK.size) },
      suite: { type: "string", default: DEFAULT_OS_DISK.suite },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help || values.output === undefined) {
    (values.help ? process.stdout : process.stderr).write(HELP);
    return values.help ? 0 : 1;
  }
  // npm runs workspace scripts in the workspace's folder; names are relative to where the user was.
  const output = resolve(process.env.INIT_CWD ?? ".", values.output);
  await makeOsDisk({ output, size: parseBytes(values.size), suite: values.suite });
  const { size, blocks } = await stat(output);
  console.log(`${output}: ${formatBytes(size)}, of which ${formatBytes(blocks * 512)} take space`);
  return 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof OsDiskError || error instanceof RangeError || isUsageError(error))) throw error;
  console.error(`os-disk: ${error.message}`);
  process.exitCode = 1;
}
