/** Ctrl-C and its relatives for commands that have something to clean up. */

const SIGNALS: readonly NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP"];

/**
 * Runs `work` with a signal that is aborted when the process is told to stop. Once `work` has cleaned up and
 * rejected, the process ends by that same signal, so that the caller sees 130, 143 or 129. Told a second time, it
 * ends at once.
 */
export async function interruptible<Result>(work: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
  const controller = new AbortController();
  let received: NodeJS.Signals | undefined;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (received !== undefined) raise(signal);
    received = signal;
    controller.abort(new Error(`stopped by ${signal}`));
  };
  const raise = (signal: NodeJS.Signals): void => {
    for (const name of SIGNALS) process.removeListener(name, onSignal);
    process.kill(process.pid, signal);
  };
  for (const name of SIGNALS) process.on(name, onSignal);
  try {
    return await work(controller.signal);
  } catch (error) {
    if (received === undefined || error !== controller.signal.reason) throw error;
    raise(received);
    // The signal ends the process before this is over; where it cannot, the failure is reported after all.
    await new Promise((resolve) => setTimeout(resolve, 1000));
    throw error;
  } finally {
    for (const name of SIGNALS) process.removeListener(name, onSignal);
  }
}
