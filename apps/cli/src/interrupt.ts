/** Ctrl-C and its relatives for commands that have something to clean up. */
import { constants } from "node:os";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
type StopSignal = (typeof SIGNALS)[number];

/** How long work may take to notice that it is to stop. */
const GRACE_MS = 2000;

/**
 * Runs `work` with a signal that is aborted when the process is told to stop. Once `work` has cleaned up and
 * rejected, the process ends by that same signal, so that the caller sees 130, 143 or 129. Told a second time, or if
 * `work` does not notice, it exits at once; what is left to do then is done by exit handlers.
 */
export async function interruptible<Result>(work: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
  const controller = new AbortController();
  let received: StopSignal | undefined;
  const onSignal = (signal: StopSignal): void => {
    const exit = (): never => process.exit(128 + constants.signals[signal]);
    if (received !== undefined) exit();
    received = signal;
    controller.abort(new Error(`stopped by ${signal}`));
    setTimeout(exit, GRACE_MS).unref();
  };
  const stopListening = (): void => {
    for (const name of SIGNALS) process.removeListener(name, onSignal);
  };
  for (const name of SIGNALS) process.on(name, onSignal);
  try {
    return await work(controller.signal);
  } catch (error) {
    if (received === undefined || error !== controller.signal.reason) throw error;
    stopListening();
    process.kill(process.pid, received);
    // The signal ends the process before this is over; where it cannot, the failure is reported after all.
    await new Promise((resolve) => setTimeout(resolve, 1000));
    throw error;
  } finally {
    stopListening();
  }
}
