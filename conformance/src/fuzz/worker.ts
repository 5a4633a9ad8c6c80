/** A process that runs cases for the one that watches it: it may be ended at any moment. */
import { ENGINE_CODECS } from "@qcow2/testing";
import { drawCase, type Figures, FuzzFind, FuzzRunner, minimise } from "@qcow2/testing/fuzz";
import { DISK_LOOKS } from "./disk-looks.ts";
import { drawOptions, type FromWorker, type ToWorker } from "./protocol.ts";

const MINIMISING_TRIES = 250;

const send = (message: FromWorker): void => void process.send?.(message);
/** Signatures that were made small already: the next find of a kind tells nothing new. */
const known = new Set<string>();

process.on("message", (message: ToWorker) => {
  if (message.kind === "end") process.disconnect();
  else void runBatch(message);
});
process.on("disconnect", () => process.exit(0));

async function runBatch({ seed, from, count }: Extract<ToWorker, { kind: "batch" }>): Promise<void> {
  const figures: Figures = new Map();
  const runner = new FuzzRunner({ codecs: ENGINE_CODECS, figures, looks: DISK_LOOKS });
  const quiet = new FuzzRunner({ codecs: ENGINE_CODECS, figures: new Map(), looks: DISK_LOOKS });
  for (let index = from; index < from + count; index++) {
    send({ kind: "began", index });
    const drawn = drawCase(index, drawOptions(seed));
    try {
      await runner.run(drawn);
    } catch (error) {
      const find =
        error instanceof FuzzFind
          ? error
          : new FuzzFind("typed-error", "the fuzzer", String((error as Error).stack));
      const { signature } = find;
      const isNew = !known.has(signature);
      known.add(signature);
      const smallest = isNew
        ? await minimise(drawn, find, { run: (simpler) => quiet.run(simpler), tries: MINIMISING_TRIES })
        : { drawn, find };
      send({
        kind: "find",
        signature,
        find: {
          oracle: find.oracle,
          operation: find.operation,
          error: smallest.find.message,
          seed,
          index,
          drawn: smallest.drawn,
        },
      });
    }
  }
  send({ kind: "done", figures: [...figures] });
}
