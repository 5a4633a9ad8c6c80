/** What an image can be, and this library does not read: QEMU's names. */
export const OTHER_FORMATS: readonly string[] = [
  "bochs",
  "cloop",
  "dmg",
  "luks",
  "parallels",
  "qcow",
  "qed",
  "vdi",
  "vhdx",
  "vmdk",
  "vpc",
  "vvfat",
];
