/** Why cases fail with our programs: in our own words, or the entry of the ledger that says so. */

const BLKDEBUG =
  "reaches the image through blkdebug, a driver of QEMU's for failing requests; the engine's own suites inject faults instead";
const LAYOUT =
  "expects tables where QEMU puts them; ours change metadata as transactions, which write new tables elsewhere";

export const WHY_NOT: Readonly<Record<string, string>> = {
  "039": "a refcount that is 0 is put right where it is, where QEMU rebuilds all of them",
  "043": "ledger 11: the chains that it wants to find out about are refused when they are made",
  "061": `${LAYOUT}; cutting off a disk with amend is warned of`,
  "074": BLKDEBUG,
  "080": `${LAYOUT}; ledger 3`,
  "098": BLKDEBUG,
  "110": "opens images through blkdebug and quorum, drivers of QEMU's",
  "112":
    "a snapshot that cannot be taken leaves no leaks behind; an image with too many references is not amended",
  "190": LAYOUT,
  "204": BLKDEBUG,
  "217": BLKDEBUG,
  "250": LAYOUT,
  "261": LAYOUT,
};
