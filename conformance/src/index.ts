export { findQemuReleases, QemuRelease, type QemuTool, REFERENCE_MINOR } from "./qemu-release.ts";
