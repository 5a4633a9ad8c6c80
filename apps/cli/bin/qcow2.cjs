#!/usr/bin/env node
// The file that npm links as `qcow2`. It exists before anything is built, and an old Node.js can still read it.
const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(`qcow2: needs Node.js 20.19 or newer; this is ${process.versions.node}\n`);
  process.exit(1);
}
if (major > 22 || (major === 22 && minor >= 1)) keepCompiledCode();
const { exit, run } = require("../dist/run.cjs");
run(process.argv).then(exit);

/**
 * Has Node.js keep compiled code in the package's own folder: who can write there could replace the code itself, and it
 * goes when the package goes. Only for the folder's owner, because files of somebody else (of root, say) would keep the
 * owner from removing the package. Where it cannot be written, nothing is kept; NODE_COMPILE_CACHE and
 * NODE_DISABLE_COMPILE_CACHE go before.
 */
function keepCompiledCode() {
  const { join } = require("node:path");
  const folder = join(__dirname, "..");
  const isOwner =
    process.geteuid === undefined || require("node:fs").statSync(folder).uid === process.geteuid();
  if (isOwner) require("node:module").enableCompileCache(join(folder, ".cache"));
}
