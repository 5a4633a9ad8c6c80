/**
 * Progress of long work, in one of three forms: a bar with rate and time left on a terminal; with -p and no
 * terminal exactly what qemu-img prints; otherwise nothing, except on request (SIGUSR1).
 */
import type { Writable } from "node:stream";
import type { SingleBar } from "cli-progress";
import { formatFixed } from "./output/decimal.ts";
import { humanSize } from "./output/human-size.ts";
import { isTaken, STDERR, STDOUT } from "./output/own-descriptors.ts";

export interface Progress {
  /** False as long as nobody sees what is reported: what costs something need not be reported then. */
  readonly isWatched: boolean;
  /** Bytes done of bytes to do. */
  report(done: number, total: number): void;
  /** Called once, whether the work succeeded or not. */
  end(options: { readonly succeeded: boolean }): void;
}

export interface ProgressOptions {
  /** -p */
  readonly wanted: boolean;
  /** -q */
  readonly quiet: boolean;
  /** Percent between two lines of qemu-img's form. */
  readonly stepPercent: number;
  /** Show a bar on a terminal even without -p. */
  readonly barByDefault: boolean;
  /** Where qemu-img's form goes. */
  readonly stdout: Writable;
}

export async function startProgress(options: ProgressOptions): Promise<Progress> {
  const { wanted, quiet } = options;
  if (quiet || !(wanted || options.barByDefault)) return new OnRequest();
  // The bar goes to stderr, so that it stays out of redirected results.
  const onTerminal = process.stderr.isTTY === true && (!wanted || process.stdout.isTTY === true);
  if (!onTerminal) return wanted ? new PercentLine(options) : new OnRequest();
  const { default: cliProgress } = await import("cli-progress");
  return new Bar((format) => new cliProgress.SingleBar(format), wanted ? 0 : BAR_DELAY_MS);
}

/** The part that is done in percent, in single precision as qemu-img counts. */
function percentOf(done: number, total: number): number {
  return Math.fround(total === 0 ? 100 : Math.min(100, (100 * done) / total));
}

function percentText(percent: number): string {
  return `    (${formatFixed(percent, 2)}/100%)`;
}

/** qemu-img's own form: one line that is written over with carriage returns. */
class PercentLine implements Progress {
  readonly isWatched = true;
  readonly #step: number;
  readonly #stdout: Writable;
  #last = 0;
  #begun = false;
  #ended = false;

  constructor({ stepPercent, stdout }: Pick<ProgressOptions, "stepPercent" | "stdout">) {
    this.#step = stepPercent;
    this.#stdout = stdout;
  }

  report(done: number, total: number): void {
    this.#begin();
    const percent = percentOf(done, total);
    if (this.#ended || percent === this.#last) return;
    if (percent > this.#last + this.#step || percent === 100) this.#print(percent);
  }

  end({ succeeded }: { readonly succeeded: boolean }): void {
    if (this.#ended) return;
    this.#begin();
    this.#ended = true;
    if (succeeded && this.#last !== 100) this.#print(100);
    if (!isTaken(STDOUT)) this.#stdout.write("\n");
  }

  /** Not before work has begun: until images are open nobody knows whether stdout is one of them. */
  #begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    this.#print(0);
  }

  #print(percent: number): void {
    this.#last = percent;
    if (!isTaken(STDOUT)) this.#stdout.write(`${percentText(percent)}\r`);
  }
}

/** Nothing, until SIGUSR1 asks. */
class OnRequest implements Progress {
  #isWatched = false;
  #percent: number | undefined;
  /** Requests that came before anything was known. */
  #unanswered = 0;
  readonly #answer = (): void => {
    this.#isWatched = true;
    if (this.#percent === undefined) this.#unanswered++;
    else this.#print(this.#percent);
  };

  constructor() {
    if (process.platform !== "win32") process.on("SIGUSR1", this.#answer);
  }

  get isWatched(): boolean {
    return this.#isWatched;
  }

  report(done: number, total: number): void {
    this.#percent = percentOf(done, total);
    for (; this.#unanswered > 0; this.#unanswered--) this.#print(this.#percent);
  }

  end(): void {
    if (process.platform !== "win32") process.removeListener("SIGUSR1", this.#answer);
  }

  #print(percent: number): void {
    if (!isTaken(STDERR)) process.stderr.write(`${percentText(percent)}\n`);
  }
}

/** Work that is over sooner needs no bar. */
const BAR_DELAY_MS = 1000;

class Bar implements Progress {
  readonly #started = performance.now();
  readonly #delayMs: number;
  readonly #bar: SingleBar;
  #shown = false;

  constructor(create: (options: object) => SingleBar, delayMs: number) {
    this.#delayMs = delayMs;
    this.#bar = create({
      format: "{bar} {percentage}% | {done} of {all} | {rate}/s | {eta_formatted} left",
      barCompleteChar: "█",
      barIncompleteChar: "░",
      hideCursor: true,
      stream: process.stderr,
      fps: 5,
    });
  }

  get isWatched(): boolean {
    return performance.now() - this.#started >= this.#delayMs;
  }

  report(done: number, total: number): void {
    if (total === 0 || !this.isWatched) return;
    const seconds = (performance.now() - this.#started) / 1000;
    const rate = humanSize(seconds > 0 ? Math.round(done / seconds) : 0);
    const texts = { done: humanSize(done), all: humanSize(total), rate };
    if (this.#shown) {
      this.#bar.update(done, texts);
      return;
    }
    this.#shown = true;
    this.#bar.start(total, done, texts);
  }

  end({ succeeded }: { readonly succeeded: boolean }): void {
    if (!this.#shown) return;
    if (succeeded) this.#bar.update(this.#bar.getTotal());
    this.#bar.stop();
  }
}
