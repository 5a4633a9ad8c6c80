import { resolve } from "node:path";

/** The repository's top folder; this file is in benchmarks/src or benchmarks/dist. */
export const REPOSITORY: string = resolve(import.meta.dirname, "../..");
