/** The command lines of `src/options/cases` for commands that change images. */
import { testCasesOf } from "../src/options/test-cases.ts";

await testCasesOf(["amend", "bitmap", "commit", "rebase", "resize", "snapshot"]);
