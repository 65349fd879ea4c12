import { inRepository } from "./steps.ts";

/** The architectures that there are binaries for. */
export const ARCHITECTURES = ["x64", "arm64"] as const;
export type Architecture = (typeof ARCHITECTURES)[number];

/** The path of the binary for an architecture. */
export function binaryPath(architecture: Architecture): string {
  return inRepository("dist", `slipway-linux-${architecture}`);
}

export function isArchitecture(name: string): name is Architecture {
  return ARCHITECTURES.some((architecture) => architecture === name);
}
