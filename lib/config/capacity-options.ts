import { MEMORY_BYTES, WARM_MAX } from "../domain/limits.ts";
import type { OptionTable } from "./option.ts";
import { showSize, size } from "./quantity-readers.ts";
import { integer } from "./readers.ts";

const MAX_INSTANCES = 10_000;

/** Limits on the instances and calls that exist at the same time. */
export const CAPACITY_OPTIONS = {
  maxInstances: {
    flag: "max-instances",
    variable: "MAX_INSTANCES",
    value: "COUNT",
    help: "The most containers that run at the same time; further calls wait.",
    read: integer(1, MAX_INSTANCES),
    default: ({ memory_bytes }) => {
      const fitting = Math.floor((memory_bytes * 0.75) / MEMORY_BYTES.default);
      return String(Math.min(MAX_INSTANCES, Math.max(1, fitting)));
    },
    defaultHelp: `as many of ${showSize(MEMORY_BYTES.default)} as fit into three quarters of the memory`,
  },
  memoryBudget: {
    flag: "memory-budget",
    variable: "MEMORY_BUDGET",
    value: "SIZE",
    help: "The most that the memory limits of all instances may add up to; no instance is started beyond it.",
    read: size(MEMORY_BYTES.min, MEMORY_BYTES.max),
    default: ({ memory_bytes }) =>
      String(Math.min(MEMORY_BYTES.max, Math.max(MEMORY_BYTES.default, Math.floor(memory_bytes * 0.75)))),
    defaultHelp: "three quarters of the memory",
  },
  startsAtOnce: {
    flag: "starts-at-once",
    variable: "STARTS_AT_ONCE",
    value: "COUNT",
    help: "The most containers that start at the same time.",
    read: integer(1, 256),
    default: ({ cpus }) => String(Math.max(2, cpus)),
    defaultHelp: "the number of cores, at least 2",
  },
  warmMax: {
    flag: "warm-max",
    variable: "WARM_MAX",
    value: "COUNT",
    help: "The most instances of a function that are kept ready, whatever its own warm_max; with 0 every call is cold.",
    read: integer(0, WARM_MAX.max),
    default: String(WARM_MAX.max),
  },
  queueLimit: {
    flag: "queue-limit",
    variable: "QUEUE_LIMIT",
    value: "COUNT",
    help: "The most calls that wait for a running instance's place (one function: nine tenths of it); further calls get a 503.",
    read: integer(0, 1_000_000),
    default: "1000",
  },
  functionQueueLimit: {
    flag: "function-queue-limit",
    variable: "FUNCTION_QUEUE_LIMIT",
    value: "COUNT",
    help: "The most calls that wait for a function at its max_concurrency; further calls get a 429.",
    read: integer(0, 1_000_000),
    default: "100",
  },
  bodyMemory: {
    flag: "body-memory",
    variable: "BODY_MEMORY",
    value: "SIZE",
    help: "The most memory for bodies of calls and attempts that are read, wait, run or are sent to slow readers; beyond it a call gets a 503 before its body is read. One client may have half of it.",
    read: size(16 * 1024 ** 2, 1024 ** 4),
    default: ({ memory_bytes }) => String(Math.max(64 * 1024 ** 2, Math.min(1024 ** 3, Math.floor(memory_bytes / 4)))),
    defaultHelp: "a quarter of the memory, at most 1GiB",
  },
  queueBytes: {
    flag: "queue-bytes",
    variable: "QUEUE_BYTES",
    value: "SIZE",
    help: "The most that queued requests, and requests and results that are kept, may take in the database; beyond it new asynchronous calls get a 507, and the oldest results make room.",
    read: size(1024 ** 2, 1024 ** 5),
    default: "2GiB",
  },
} as const satisfies OptionTable;
