/**
 * What `import("koffi")` is in the bundle: the same object as koffi's own, straight from the package that holds it for
 * this platform. koffi's entry looks at every property of node:util, for which newer Node.js loads streams, worker
 * threads and more: half of what `qcow2 info` would cost. Where the object is not found there, or is not what it was,
 * that entry is asked.
 */
function nativePart() {
  try {
    const native = require(`@koromix/koffi-${process.platform}-${process.arch}`);
    const isKnown = /^3\./.test(native.version) && typeof native.load === "function";
    return isKnown ? native : undefined;
  } catch {
    return undefined;
  }
}

module.exports = nativePart() ?? require("koffi");
