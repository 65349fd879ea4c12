import { Type } from "@sinclair/typebox";
import { BOOT_TIMEOUT_MS, CONCURRENCY, IDLE_TIMEOUT_MS, PORT, READY_PATH_LENGTH } from "../limits.ts";
import { IDLES } from "./contract.ts";
import { Enum, Flag, Nullable } from "../types.ts";

/** The settings of functions that are started before their calls; most belong to the contract `http` alone. */
export const HTTP_SETTINGS = {
  port: Nullable(
    Type.Integer({
      minimum: PORT.min,
      maximum: PORT.max,
      description:
        "The TCP port on which the function listens, with the contract `http`, on any address. Null in a request for the image's own, " +
        `which the record then has: its label, its variable \`PORT\`, the one port that it exposes, or ${PORT.default}.`,
      examples: [null],
    }),
  ),
  ready_path: Nullable(
    Type.String({
      minLength: 1,
      maxLength: READY_PATH_LENGTH,
      description:
        "With the contract `http`: a path that must answer a GET with a status below 400 before the function gets a call. " +
        "Null if it is ready as soon as it listens.",
      examples: [null],
    }),
  ),
  boot_timeout_ms: Type.Integer({
    minimum: BOOT_TIMEOUT_MS.min,
    maximum: BOOT_TIMEOUT_MS.max,
    description:
      "With the contracts `http` and `lambda`: how long the function may take until it is ready, in milliseconds. It does not count towards `timeout_ms`.",
    examples: [BOOT_TIMEOUT_MS.default],
  }),
  concurrency: Type.Integer({
    minimum: 1,
    maximum: CONCURRENCY.max,
    description:
      "With the contract `http`: the most calls that one instance serves at the same time. More than 1 needs a `max_calls` other than 1.",
    examples: [CONCURRENCY.default],
  }),
  idle_timeout_ms: Nullable(
    Type.Integer({
      minimum: IDLE_TIMEOUT_MS.min,
      maximum: IDLE_TIMEOUT_MS.max,
      description:
        "With the contracts `http` and `lambda`: how long a call may go on without a byte in either direction, in milliseconds; null for no such limit.",
      examples: [null],
    }),
  ),
  idle: Nullable(
    Enum(IDLES, {
      description:
        "With the contracts `http` and `lambda`: what an instance does while it has no call. `freeze`: nothing, its processes are stopped. `run`: what it likes. " +
        "Null for `freeze` if `max_calls` is 1, else `run`.",
      examples: [null],
    }),
  ),
  buffer_request: Flag(
    "With the contract `http`: take a request body of unknown length in as a whole and send it with its length, for servers that do not " +
      "read chunked bodies.",
  ),
} as const;
