/**
 * The tests that `bun run test` runs a second time, on the newest engine: those that touch what differs between engines,
 * which are images, pulls, containers and what they are made from. Folders, and files of other folders.
 * `tests/newest-engine.test.ts` says which tests must be here.
 */
export const NEWEST_TESTS: readonly string[] = [
  "tests/cli/sweep.test.ts",
  "tests/docker",
  "tests/e2e/builds/builds.test.ts",
  "tests/e2e/builds/buildkit.test.ts",
  "tests/e2e/builds/left.test.ts",
  "tests/e2e/functions/volumes.test.ts",
  "tests/e2e/images",
  "tests/e2e/calls/container.test.ts",
  "tests/e2e/cells/cells.test.ts",
  "tests/e2e/cells/left.test.ts",
  "tests/e2e/faults/gate-volume.test.ts",
  "tests/e2e/faults/images.test.ts",
  "tests/e2e/http/neighbours.test.ts",
  "tests/e2e/lambda/extensions.test.ts",
  "tests/e2e/pool/isolated-network.test.ts",
  "tests/e2e/pool/network.test.ts",
  "tests/e2e/postgres/images.test.ts",
];
