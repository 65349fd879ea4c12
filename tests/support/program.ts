import { dirname, join } from "node:path";

/** The binary that `bun run test` compiles before all tests; undefined where it runs single ones. */
export const BINARY = process.env["SLIPWAY_TEST_BINARY"];

/** The command of the program `slipway`, without arguments: the binary if there is one, whose start takes a third of the time, else this source. */
export const SLIPWAY: readonly string[] =
  BINARY === undefined ? [process.execPath, join(dirname(dirname(import.meta.dir)), "index.ts")] : [BINARY];
