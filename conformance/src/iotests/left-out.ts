/** Cases that run with QEMU's own programs, and are no task of ours: each with its reason. */

export const LEFT_OUT: Readonly<Record<string, string>> = {};
