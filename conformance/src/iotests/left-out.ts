/** Cases that run with QEMU's own programs, and are no task of ours: each with its reason. */

const ENCRYPTION = "is about encrypted images, which are recognised and refused";

export const LEFT_OUT: Readonly<Record<string, string>> = {
  "134": ENCRYPTION,
  "158": ENCRYPTION,
  "188": ENCRYPTION,
  "189": ENCRYPTION,
  "198": ENCRYPTION,
  "263": ENCRYPTION,
  "284": ENCRYPTION,
  "293": ENCRYPTION,
  "qcow2-encryption": ENCRYPTION,
};
