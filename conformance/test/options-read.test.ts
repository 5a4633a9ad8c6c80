/** The command lines of `src/options/cases` for commands that leave images as they are, or make new ones. */
import { testCasesOf } from "../src/options/test-cases.ts";

await testCasesOf(["bench", "check", "compare", "convert", "create", "dd", "info", "map", "measure"]);
