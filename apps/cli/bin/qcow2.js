#!/usr/bin/env node
// The file that npm links as `qcow2`. It exists before anything is built, and an old Node.js can still read it.
const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(`qcow2: needs Node.js 20.19 or newer; this is ${process.versions.node}\n`);
  process.exit(1);
}
import("../dist/main.js");
