import {
  CALLBACK,
  CONTEXT_BYTES,
  KEEP_ALIVE_MS,
  LOG_BYTES,
  REQUEST_BYTES,
  RESPONSE_BYTES,
  STALL_TIMEOUT_MS,
} from "../domain/limits.ts";
import { callbackAllow } from "./network-readers.ts";
import type { OptionTable } from "./option.ts";
import { duration, showDuration, showSize, size } from "./quantity-readers.ts";
import { integer } from "./readers.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** Limits of calls, of builds and other requests to the engine, and of callbacks. */
export const CALL_OPTIONS = {
  maxRequestBytes: {
    flag: "max-request-bytes",
    variable: "MAX_REQUEST_BYTES",
    value: "SIZE",
    help: "The largest request body.",
    read: size(1024, CONTEXT_BYTES),
    default: showSize(REQUEST_BYTES),
  },
  maxResponseBytes: {
    flag: "max-response-bytes",
    variable: "MAX_RESPONSE_BYTES",
    value: "SIZE",
    help: "The largest response.json.",
    read: size(1024, CONTEXT_BYTES),
    default: showSize(RESPONSE_BYTES),
  },
  logBytes: {
    flag: "log-bytes",
    variable: "LOG_BYTES",
    value: "SIZE",
    help: "The most output that is kept per call.",
    read: size(0, CONTEXT_BYTES),
    default: showSize(LOG_BYTES),
  },
  keepAliveMs: {
    flag: "keep-alive-ms",
    variable: "KEEP_ALIVE_MS",
    value: "TIME",
    help: "How long a connection stays open for its next request: longer than a balancer in front of the server keeps it.",
    read: duration(KEEP_ALIVE_MS.min, KEEP_ALIVE_MS.max),
    default: showDuration(KEEP_ALIVE_MS.default),
  },
  stallTimeoutMs: {
    flag: "stall-timeout-ms",
    variable: "STALL_TIMEOUT_MS",
    value: "TIME",
    help: "How long a client may neither send a byte of a request body nor take one of an answer.",
    read: duration(STALL_TIMEOUT_MS.min, STALL_TIMEOUT_MS.max),
    default: showDuration(STALL_TIMEOUT_MS.default),
  },
  drainDelayMs: {
    flag: "drain-delay-ms",
    variable: "DRAIN_DELAY_MS",
    value: "TIME",
    help: "How long a server that stops still takes calls, while /readyz says 503: longer than a load balancer takes to see that.",
    read: duration(0, HOUR),
    default: "0",
  },
  drainMs: {
    flag: "drain-ms",
    variable: "DRAIN_MS",
    value: "TIME",
    help: "How long running calls may take to finish when the server stops.",
    read: duration(0, HOUR),
    default: "30s",
  },
  engineTimeoutMs: {
    flag: "engine-timeout-ms",
    variable: "ENGINE_TIMEOUT_MS",
    value: "TIME",
    help: "How long the engine may take to answer, except for a pull.",
    read: duration(100, HOUR),
    default: "30s",
  },
  buildBytes: {
    flag: "build-bytes",
    variable: "BUILD_BYTES",
    value: "SIZE",
    help: "The largest build context, as it is sent and when it is unpacked.",
    read: size(1024, 1024 ** 4),
    default: "512MiB",
  },
  buildTimeoutMs: {
    flag: "build-timeout-ms",
    variable: "BUILD_TIMEOUT_MS",
    value: "TIME",
    help: "How long a build may take.",
    read: duration(1_000, 24 * 3_600_000),
    default: "15m",
  },
  buildsAtOnce: {
    flag: "builds-at-once",
    variable: "BUILDS_AT_ONCE",
    value: "COUNT",
    help: "The most builds that run at the same time; further ones wait.",
    read: integer(1, 64),
    default: "2",
  },
  pullTimeoutMs: {
    flag: "pull-timeout-ms",
    variable: "PULL_TIMEOUT_MS",
    value: "TIME",
    help: "How long an image pull may take.",
    read: duration(SECOND, 24 * HOUR),
    default: "10m",
  },
  minScheduleIntervalMs: {
    flag: "min-schedule-interval-ms",
    variable: "MIN_SCHEDULE_INTERVAL_MS",
    value: "TIME",
    help: "The shortest time between two runs of a schedule; older schedules that are more frequent leave out runs.",
    read: duration(SECOND, HOUR),
    default: "10s",
  },
  callbackTimeoutMs: {
    flag: "callback-timeout-ms",
    variable: "CALLBACK_TIMEOUT_MS",
    value: "TIME",
    help: "How long a receiver of a callback may take to answer.",
    read: duration(100, 5 * MINUTE),
    default: showDuration(CALLBACK.timeout_ms),
  },
  callbackRetryFor: {
    flag: "callback-retry-for",
    variable: "CALLBACK_RETRY_FOR",
    value: "TIME",
    help: "How long a callback that is not answered with 2xx is tried again; 0 for a single attempt.",
    read: duration(0, 30 * 24 * HOUR),
    default: showDuration(CALLBACK.retry_for_ms),
  },
  callbackAllow: {
    flag: "callback-allow",
    variable: "CALLBACK_ALLOW",
    value: "HOST,...",
    help: "Where callbacks may go besides public addresses: host names, addresses and ranges such as 10.0.0.0/8.",
    read: callbackAllow,
    default: "",
    defaultHelp: "none",
  },
} as const satisfies OptionTable;
