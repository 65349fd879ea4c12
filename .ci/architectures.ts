import { inRepository } from "./steps.ts";

/** The architectures that there are binaries for. */
export const ARCHITECTURES = ["x64", "arm64"] as const;
export type Architecture = (typeof ARCHITECTURES)[number];

/** The targets of binaries: an architecture with glibc, or with musl, as Alpine has it. */
export const TARGETS = [...ARCHITECTURES, "x64-musl", "arm64-musl"] as const;
export type Target = (typeof TARGETS)[number];

/** The path of the binary for a target. */
export function binaryPath(target: Target): string {
  return inRepository("dist", `slipway-linux-${target}`);
}

export function isTarget(name: string): name is Target {
  return TARGETS.some((target) => target === name);
}
