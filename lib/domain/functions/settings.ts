import { Type, type Static } from "@sinclair/typebox";
import {
  COMMAND_ARGUMENTS,
  CONTEXT_SIZE,
  CPUS,
  IDLE_TTL_MS,
  LABELS,
  LOG_LIMIT,
  MAX_CALLS,
  MAX_CONCURRENCY,
  MEMORY_BYTES,
  NAME_LENGTH,
  PATH_LENGTH,
  PIDS,
  SECRETS_OF_FUNCTION,
  TIMEOUT_MS,
  WARM_MAX,
  WARM_MIN,
} from "../limits.ts";
import { ASYNC_SETTINGS } from "./async-settings.ts";
import { RETRY_DEFAULT } from "./retry.ts";
import { SecretUse } from "../secrets.ts";
import { Nullable } from "../types.ts";

/** How tightly a container is held. */
export const SANDBOXES = ["default", "strict", "docker"] as const;
export type Sandbox = (typeof SANDBOXES)[number];

const argument = Type.String({ maxLength: PATH_LENGTH });

/** A label that stands for a function's id in every path. No UUID may be a name, so that neither hides the other. */
export const FunctionName = Type.String({
  pattern: "^[a-z0-9-]+$",
  minLength: 1,
  maxLength: NAME_LENGTH,
  description: `Unique; stands for the id in every path. Lower-case letters, digits and "-", at most ${NAME_LENGTH}; no UUID.`,
  examples: ["hello-world"],
});

/** What is run, and as whom: null leaves it to the image. */
const process = {
  entrypoint: Nullable(
    Type.Array(argument, {
      maxItems: COMMAND_ARGUMENTS,
      description:
        "In place of the image's ENTRYPOINT; its CMD is dropped with it, as `docker run --entrypoint` does. Null leaves it to the image.",
      examples: [["/bin/sh", "-c"]],
    }),
  ),
  command: Nullable(
    Type.Array(argument, {
      maxItems: COMMAND_ARGUMENTS,
      description: "In place of the image's CMD. Null leaves it to the image.",
      examples: [["node", "index.js"]],
    }),
  ),
  user: Nullable(
    Type.String({
      minLength: 1,
      maxLength: 255,
      description:
        "`user`, `uid`, `user:group` or `uid:gid` in place of the image's USER. Null leaves it to the image; " +
        "the sandbox `strict` takes 65534:65534 where that is root.",
      examples: ["1000:1000"],
    }),
  ),
  working_dir: Nullable(
    Type.String({
      minLength: 1,
      maxLength: PATH_LENGTH,
      description:
        "An absolute path in place of the image's WORKDIR, made where the image does not have it. Null leaves it to the image.",
      examples: ["/app"],
    }),
  ),
  secrets: Type.Array(SecretUse, {
    maxItems: SECRETS_OF_FUNCTION,
    description: "The secrets that the function is given at each call.",
    examples: [[{ name: "database-password", environment: null }]],
  }),
};

/** What a container may use. */
const resources = {
  timeout_ms: Type.Integer({
    minimum: TIMEOUT_MS.min,
    maximum: TIMEOUT_MS.max,
    description: "How long a call may run, in milliseconds; then it is ended and the caller gets a 504.",
    examples: [TIMEOUT_MS.default],
  }),
  memory_bytes: Type.Integer({
    minimum: MEMORY_BYTES.min,
    maximum: MEMORY_BYTES.max,
    description: "Memory limit in bytes, with no swap beside it. The context's tmpfs counts.",
    examples: [MEMORY_BYTES.default],
  }),
  cpus: Type.Number({
    minimum: CPUS.min,
    maximum: CPUS.max,
    description: "CPU limit in cores.",
    examples: [CPUS.default],
  }),
  pids: Type.Integer({
    minimum: PIDS.min,
    maximum: PIDS.max,
    description: "Processes and threads at once, the gate included.",
    examples: [PIDS.default],
  }),
  context_bytes: Nullable(
    Type.Integer({
      minimum: CONTEXT_SIZE.min,
      maximum: CONTEXT_SIZE.max,
      description:
        "Size of the tmpfs that holds the context, in bytes; less than `memory_bytes`, which it counts as. " +
        "Null takes 64 MiB, or half of the memory where that is less.",
      examples: [null],
    }),
  ),
  log_bytes: Nullable(
    Type.Integer({
      minimum: 0,
      maximum: LOG_LIMIT.max,
      description: "Output that is kept of a call, in bytes. Null takes the server's LOG_BYTES.",
      examples: [null],
    }),
  ),
};

/** What surrounds a container, and keeps it in. */
const surroundings = {
  network: Type.String({
    minLength: 1,
    maxLength: 128,
    description:
      "`bridge`, `none`, or the name of one of the engine's networks. Not `host`, and no other container's network. " +
      "The sandbox `strict` has `none` unless one is named with it.",
    examples: ["bridge"],
  }),
  share_network: Type.Boolean({
    description:
      "Let the function's instances share one network namespace, and so a loopback; it halves what the engine does for each. " +
      "Those of different functions never do.",
    examples: [false],
  }),
  sandbox: Type.Unsafe<Sandbox>(
    Type.Union(
      SANDBOXES.map((sandbox) => Type.Literal(sandbox)),
      {
        description:
          "`default`: Docker's capabilities less NET_RAW, MKNOD, SETFCAP and AUDIT_WRITE. `strict`: no capabilities, a read-only root, " +
          "a sized tmpfs in place of each of the image's volumes, a user that is not root, and no network unless one is named with it. " +
          "It sets `network` and `read_only`, which stay when the sandbox is changed back. " +
          "`docker`: the engine's own defaults, for images that need capabilities.",
        examples: ["default"],
      },
    ),
  ),
  runtime: Nullable(
    Type.String({
      minLength: 1,
      maxLength: 128,
      description: "One of the engine's runtimes, such as `runsc`. Null takes the engine's default.",
      examples: [null],
    }),
  ),
  read_only: Type.Boolean({
    description: "Mount the root filesystem read-only, with a tmpfs at /tmp that counts as memory.",
    examples: [false],
  }),
  labels: Type.Unsafe<Record<string, string>>(
    // No Type.Record: its pattern lets a key with a line separator (U+2028) have a value of any type.
    Type.Object(
      {},
      {
        additionalProperties: Type.String({ maxLength: LABELS.value_length }),
        maxProperties: LABELS.max,
        description: "Labels of the function's containers. None may begin with `slipway.`.",
        examples: [{ team: "checkout" }],
      },
    ),
  ),
};

/** How instances are kept. */
const instances = {
  max_calls: Type.Integer({
    minimum: 0,
    maximum: MAX_CALLS.max,
    description:
      "How many calls an instance serves before it is replaced; 0 is no limit. With 1 every call has a brand-new container; " +
      "with more, a brand-new process in a container that has served calls before.",
    examples: [MAX_CALLS.default],
  }),
  max_concurrency: Type.Integer({
    minimum: 0,
    maximum: MAX_CONCURRENCY.max,
    description: "How many calls run at once, the others wait; 0 leaves it to the server's limit.",
    examples: [MAX_CONCURRENCY.default],
  }),
  warm_min: Type.Integer({
    minimum: 0,
    maximum: WARM_MIN.max,
    description: "Instances that are kept ready also when nobody calls.",
    examples: [WARM_MIN.default],
  }),
  warm_max: Type.Integer({
    minimum: 0,
    maximum: WARM_MAX.max,
    description: "Instances that are kept ready at most, however many calls come; 0 makes every call a cold one.",
    examples: [WARM_MAX.default],
  }),
  idle_ttl_ms: Type.Integer({
    minimum: IDLE_TTL_MS.min,
    maximum: IDLE_TTL_MS.max,
    description: "How long instances are kept ready after the last call, in milliseconds.",
    examples: [IDLE_TTL_MS.default],
  }),
};

/** The schemas of the settings that have a default and can be given and changed; `environment` is one more. */
export const SETTINGS = { ...process, ...resources, ...surroundings, ...instances, ...ASYNC_SETTINGS } as const;

/** A function's settings. */
export const Settings = Type.Object(SETTINGS);
export type Settings = Static<typeof Settings>;

/** What every function has unless it was given, or its image's labels say otherwise. */
export const SETTING_DEFAULTS: Settings = {
  entrypoint: null,
  command: null,
  user: null,
  working_dir: null,
  secrets: [],
  timeout_ms: TIMEOUT_MS.default,
  memory_bytes: MEMORY_BYTES.default,
  cpus: CPUS.default,
  pids: PIDS.default,
  context_bytes: null,
  log_bytes: null,
  network: "bridge",
  share_network: false,
  sandbox: "default",
  runtime: null,
  read_only: false,
  labels: {},
  max_calls: MAX_CALLS.default,
  max_concurrency: MAX_CONCURRENCY.default,
  warm_min: WARM_MIN.default,
  warm_max: WARM_MAX.default,
  idle_ttl_ms: IDLE_TTL_MS.default,
  retry: RETRY_DEFAULT,
  callback_url: null,
  on_success: null,
  on_failure: null,
  record_bodies: false,
};
