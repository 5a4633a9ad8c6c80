/** Why cases fail with our programs: in our own words, or the entry of the ledger that says so. */

const BLKDEBUG =
  "reaches the image through blkdebug, a driver of QEMU's for failing requests, for delaying them and for limits of devices; the engine's own suites inject faults instead";
const LAYOUT =
  "expects tables where QEMU puts them; ours change metadata as transactions, which write new tables elsewhere (LEDGER.md, further differences)";
const STATE =
  "writes the state of a virtual machine (`-b`), which our `qemu-io` refuses (LEDGER.md, further differences)";
const OTHER_DRIVERS =
  "opens images through drivers of QEMU's that are refused (LEDGER.md, further differences)";
const TOO_LARGE =
  "makes a disk of more than 8 PiB, which is refused in other words: sizes are JavaScript numbers (README, Limits)";

export const WHY_NOT: Readonly<Record<string, string>> = {
  "020":
    "one of its images names its backing file with JSON, which is refused (LEDGER.md, further differences), to reach it through blkdebug",
  "022": STATE,
  "024": "zeroes that are copied are marked as such, where QEMU stores them (LEDGER.md, further differences)",
  "026": BLKDEBUG,
  "029": STATE,
  "031":
    "looks at the order of header extensions, which ours leaves as it is, and at the table of feature names, which ours leaves out where old and new header would need different bytes at one place",
  "033": BLKDEBUG,
  "039":
    "a refcount that is 0 is put right where it is, where QEMU rebuilds all of them; and with lazy refcounts, too, our engine keeps them right, so that there is nothing to repair",
  "043": "ledger 4 and 11: the chains that it wants to find out about are refused when they are made",
  "046": BLKDEBUG,
  "054": TOO_LARGE,
  "061": `${LAYOUT}; cutting off a disk with amend is warned of, and amend changes all or nothing`,
  "066": BLKDEBUG,
  "072": "opens an image within an image (LEDGER.md, further differences)",
  "074": BLKDEBUG,
  "080": `${LAYOUT}; ledger 3`,
  "082": "prints the help of options (ledger 13)",
  "086": "prints the end of the progress twice, as `qemu-img` does in some cases (ledger 6)",
  "089": "opens an image within an image (LEDGER.md, further differences), and one through blkdebug",
  "098": BLKDEBUG,
  "103":
    "sets caches to sizes that QEMU refuses; ours takes any, because it bounds its caches by sizes of its own",
  "110": "opens images through blkdebug and quorum, drivers of QEMU's",
  "112":
    "a snapshot that cannot be taken leaves no leaks behind; refcounts above 2^53 - 1 are shown as that; an image with too many references is not amended",
  "125": `${LAYOUT}, and the file has another length then; the rest of the cluster in which the disk ended is not preallocated (LEDGER.md, further differences)`,
  "133":
    "looks for the words of QEMU's refusals of options of nodes, which ours names with the node; and opens a driver of QEMU's",
  "137": TOO_LARGE,
  "150": OTHER_DRIVERS,
  "154":
    "expects data where zeroes are written over zeroes of a backing file; ours writes nothing there (LEDGER.md, further differences)",
  "177": BLKDEBUG,
  "179": BLKDEBUG,
  "190": LAYOUT,
  "197": BLKDEBUG,
  "204": BLKDEBUG,
  "214": OTHER_DRIVERS,
  "215": OTHER_DRIVERS,
  "217": BLKDEBUG,
  "226":
    "tells the drivers `file` and `host_device` apart; both are the host's file here (LEDGER.md, further differences)",
  "250": LAYOUT,
  "251": BLKDEBUG,
  "261": LAYOUT,
  "268": BLKDEBUG,
  "270": OTHER_DRIVERS,
  "271": `${LAYOUT}; check repairs more than QEMU's`,
  "287": "compresses with zstd, which Node.js can from 22.15 on; there it passes",
  "289": BLKDEBUG,
  "305": "a damaged refcount table is refused in other words (ledger 1)",
  "313": LAYOUT,
  "qemu-img-close-errors":
    "one of its images names its backing file with JSON, which is refused (LEDGER.md, further differences), to reach it through blkdebug",
  "raw:150": OTHER_DRIVERS,
};
