/** The end of the process. */
import module from "node:module";
import { hostExit } from "@qcow2/node";

/**
 * Ends the process with `code`, when all work is done and all output written.
 *
 * Node.js waits at its end for the threads of its compiler, and now and then one of those waits for the main thread, for
 * ever (nodejs/node issue 54918): a conversion that had finished would never return. So the host is asked to end the
 * process, where it can be.
 */
export function exit(code: number): never {
  const exitNow = hostExit();
  if (exitNow !== undefined && !isObserved() && keepCompiledCode()) {
    process.emit("exit", code);
    exitNow(code);
  }
  process.exit(code);
}

/** Profiles and coverage are written when Node.js takes itself down. */
function isObserved(): boolean {
  const { NODE_OPTIONS, NODE_V8_COVERAGE } = process.env;
  return process.execArgv.length > 0 || NODE_OPTIONS !== undefined || NODE_V8_COVERAGE !== undefined;
}

/** Has Node.js store what it compiled, as it does at its own end; false where it does so only then. */
function keepCompiledCode(): boolean {
  // From 22.1 and 22.10 on; types for older versions do not have them.
  const enable: unknown = Reflect.get(module, "enableCompileCache");
  const flush: unknown = Reflect.get(module, "flushCompileCache");
  if (typeof flush === "function") flush();
  return typeof flush === "function" || typeof enable !== "function";
}
