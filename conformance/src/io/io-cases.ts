import type { IoCaseGroup } from "./io-case.ts";
import { READ_WRITE_CASES } from "./read-write-cases.ts";
import { SESSION_CASES } from "./session-cases.ts";
import { SPACE_CASES } from "./space-cases.ts";

export const IO_CASES: readonly IoCaseGroup[] = [...READ_WRITE_CASES, ...SPACE_CASES, ...SESSION_CASES];
