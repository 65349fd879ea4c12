/**
 * The tests that `bun run test` runs by themselves, after the others: those that measure against a fixed limit, those that
 * load the machine so much that other tests would wait, and those of firewall rules, which each engine that starts beside
 * them writes anew. Folders, and files of other folders.
 */
export const ALONE_TESTS: readonly string[] = [
  "tests/e2e/budgets",
  "tests/e2e/faults/overload.test.ts",
  "tests/e2e/http/neighbours.test.ts",
  "tests/e2e/pool/isolated-network.test.ts",
];
