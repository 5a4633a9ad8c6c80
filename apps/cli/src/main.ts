/** The command's entry: finds the subcommand, loads it, and turns whatever happens into an exit code. */
import { run } from "./run.ts";

process.exit(await run(process.argv));
