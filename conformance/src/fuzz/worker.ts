/** A process that runs cases for the one that watches it: it may be ended at any moment. */
import { drawCase, type Figures, FuzzFind, type FuzzRunner, minimise } from "@qcow2/testing/fuzz";
import { Workbench } from "../workbench.ts";
import { createRunner } from "./create-runner.ts";
import { drawOptions, type FromWorker, type ToWorker } from "./protocol.ts";

const MINIMISING_TRIES = 250;
/** Where QEMU's programs are started for each. */
const JUDGED_TRIES = 50;

const send = (message: FromWorker): void => void process.send?.(message);
/** Signatures that were made small already: the next find of a kind tells nothing new. */
const known = new Set<string>();

process.on("message", (message: ToWorker) => {
  if (message.kind === "end") process.disconnect();
  else void runBatch(message);
});
process.on("disconnect", () => process.exit(0));

async function runBatch({
  seed,
  from,
  count,
  qemu,
  minimises,
}: Extract<ToWorker, { kind: "batch" }>): Promise<void> {
  using bench = new Workbench("fuzz");
  const figures: Figures = new Map();
  const runner = await createRunner(figures, bench);
  const quiet: FuzzRunner = await createRunner(new Map(), bench);
  for (let index = from; index < from + count; index++) {
    send({ kind: "began", index });
    const drawn = drawCase(index, drawOptions(seed, qemu));
    const judging = { isJudged: qemu > 0 && index % qemu === 0 };
    try {
      await runner.run(drawn, judging);
    } catch (error) {
      const find =
        error instanceof FuzzFind
          ? error
          : new FuzzFind("typed-error", "the fuzzer", String((error as Error).stack));
      const { signature } = find;
      const isNew = minimises && !known.has(signature);
      known.add(signature);
      const smallest = isNew
        ? await minimise(drawn, find, {
            run: (simpler) => quiet.run(simpler, judging),
            tries: judging.isJudged ? JUDGED_TRIES : MINIMISING_TRIES,
          })
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
