/** One run of `io`: the image that is open, where results go, and the requests that run beside the commands. */
import type { Codecs } from "@qcow2/core";
import type { CommandContext } from "../command.ts";
import type { IoImage } from "./io-image.ts";
import { Refusal } from "./refusal.ts";

export class IoSession {
  readonly context: CommandContext;
  /** For the images that are opened. */
  readonly codecs: Codecs;
  #image: IoImage | undefined;
  readonly #background = new Set<Promise<void>>();

  constructor(context: CommandContext, codecs: Codecs) {
    this.context = context;
    this.codecs = codecs;
  }

  get hasImage(): boolean {
    return this.#image !== undefined;
  }

  /** @throws Refusal if none is open */
  get image(): IoImage {
    if (this.#image !== undefined) return this.#image;
    throw new Refusal("no file open, try 'help open'", "stderr");
  }

  set image(image: IoImage) {
    this.#image = image;
  }

  /** A person sees each result as soon as there is one, also of what runs beside the commands. */
  async print(text: string): Promise<void> {
    const { out } = this.context;
    await out.print(text);
    if (process.stdout.isTTY) await out.flush();
  }

  /** Says why something failed, where qemu-io does. */
  async complain(refusal: Refusal): Promise<void> {
    if (refusal.place === "result") await this.print(`${refusal.message}\n`);
    else if (refusal.place === "named") this.context.warn(refusal.message);
    else this.context.report(refusal.message);
    // The name of an errno says little. Scripts for qemu-io do not expect more; people are glad of it.
    const { cause } = refusal;
    if (this.context.program === "qcow2" && refusal.place === "result" && cause instanceof Error) {
      this.context.warn(cause.message);
    }
  }

  /** Lets `work` go on beside the commands that follow. Its failures are told when they happen, and no command's. */
  inBackground(work: () => Promise<void>): void {
    const ended: Promise<void> = work()
      .catch(async (error: unknown) => {
        if (!(error instanceof Refusal)) throw error;
        await this.complain(error);
      })
      .finally(() => this.#background.delete(ended));
    this.#background.add(ended);
    // Whoever waits for it hears of a bug; until then nobody listens.
    ended.catch(() => undefined);
  }

  /** Waits for everything that runs beside the commands. */
  async drain(): Promise<void> {
    while (this.#background.size > 0) await Promise.all(this.#background);
  }

  /** Waits for what is under way, and closes the image; what was written is durable then. */
  async closeImage(): Promise<void> {
    await this.drain();
    const image = this.#image;
    this.#image = undefined;
    await image?.close();
  }
}
