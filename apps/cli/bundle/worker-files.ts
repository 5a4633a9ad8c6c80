/** Makes a chunk of every file that a worker thread is started with, and has the code name that chunk. */
import type { Plugin } from "rolldown";

const FILE_OF_WORKER = /new URL\("(\.\/[^"]+\.js)", import\.meta\.url\)/g;

export function workerFiles(): Plugin {
  return {
    name: "worker-files",
    transform: {
      filter: { code: /new Worker\(/ },
      handler(code, importer) {
        return code.replaceAll(FILE_OF_WORKER, (_, id: string) => {
          const reference = this.emitFile({ type: "chunk", id, importer });
          return `new URL(import.meta.ROLLUP_FILE_URL_${reference})`;
        });
      },
    },
  };
}
