/**
 * The first thing that every script checks. This file and the scripts that import it use nothing newer than Node.js 14,
 * so that an old Node.js gets as far as the sentence below instead of a syntax error.
 */

/** The oldest Node.js that the packages support ("engines" in package.json). */
const OLDEST = { major: 20, minor: 19 };

/** Ends the process with a sentence and exit code 1 if this Node.js is too old. */
export function requireSupportedNode() {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major > OLDEST.major || (major === OLDEST.major && minor >= OLDEST.minor)) return;
  console.error(
    `This project needs Node.js ${OLDEST.major}.${OLDEST.minor} or newer; this is Node.js ${process.versions.node} (${process.execPath}).`,
  );
  process.exit(1);
}
