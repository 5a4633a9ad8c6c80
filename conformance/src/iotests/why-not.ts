/** Why cases fail with our programs: in our own words, or the entry of the ledger that says so. */

export const WHY_NOT: Readonly<Record<string, string>> = {};
