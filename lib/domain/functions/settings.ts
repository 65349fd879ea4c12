import { Type, type Static } from "@sinclair/typebox";
import {
  COLLECTED_TIMEOUT_MS,
  COMMAND_ARGUMENTS,
  CONTEXT_SIZE,
  CPUS,
  HTTP_WARM_MAX,
  IDLE_TTL_MS,
  LABELS,
  LOG_LIMIT,
  MAX_CALLS,
  MAX_CONCURRENCY,
  MEMORY_BYTES,
  NAME_LENGTH,
  NOFILE,
  PATH_LENGTH,
  PIDS,
  SCRATCH_SIZE,
  SECRETS_OF_FUNCTION,
  TIMEOUT_MS,
  VOLUMES,
  WARM_MAX,
  WARM_MIN,
} from "../limits.ts";
import { CONTRACT_DEFAULTS, CONTRACTS, OUTPUTS } from "./contract.ts";
import { ASYNC_SETTINGS } from "./async-settings.ts";
import { HTTP_SETTINGS } from "./http-settings.ts";
import { ISOLATIONS } from "./isolation.ts";
import { GivenRetry, RETRY_DEFAULT } from "./retry.ts";
import { GivenVolume, NamedVolume } from "./volumes.ts";
import { SecretUse } from "../secrets.ts";
import { Enum, Flag, Nullable } from "../types.ts";

/** The levels of confinement of a container. */
export const SANDBOXES = ["default", "strict", "docker"] as const;

const argument = Type.String({ maxLength: PATH_LENGTH });

/** A name that can replace the function's id in every path. It is never a UUID, so that names and ids differ. */
export const FunctionName = Type.String({
  pattern: "^[a-z0-9-]+$",
  minLength: 1,
  maxLength: NAME_LENGTH,
  description: `Unique; can replace the id in every path. Lower-case letters, digits and "-", at most ${NAME_LENGTH}; not a UUID.`,
  examples: ["hello-world"],
});

/** The process and its user; null leaves a setting to the image. */
const process = {
  entrypoint: Nullable(
    Type.Array(argument, {
      maxItems: COMMAND_ARGUMENTS,
      description:
        "Replaces the image's ENTRYPOINT and drops its CMD, as `docker run --entrypoint` does; null for the image's own.",
      examples: [["/bin/sh", "-c"]],
    }),
  ),
  command: Nullable(
    Type.Array(argument, {
      maxItems: COMMAND_ARGUMENTS,
      description: "Replaces the image's CMD; null for the image's own.",
      examples: [["node", "index.js"]],
    }),
  ),
  user: Nullable(
    Type.String({
      minLength: 1,
      maxLength: 255,
      description:
        "`user`, `uid`, `user:group` or `uid:gid`, replaces the image's USER; null for the image's own, " +
        "which is 65534:65534 in the sandbox `strict` if the image would run as root.",
      examples: ["1000:1000"],
    }),
  ),
  working_dir: Nullable(
    Type.String({
      minLength: 1,
      maxLength: PATH_LENGTH,
      description: "An absolute path that replaces the image's WORKDIR, created if missing; null for the image's own.",
      examples: ["/app"],
    }),
  ),
  secrets: Type.Array(SecretUse, {
    maxItems: SECRETS_OF_FUNCTION,
    description: "The secrets that each call hands to the function.",
    examples: [[{ name: "database-password", environment: null }]],
  }),
};

/** The way in which the function is spoken to. */
const contract = {
  contract: Enum(CONTRACTS, {
    description:
      "`files`: the request and the answer are files of the context. `stdio`: the request body is standard input, standard output is the answer. " +
      "`http`: the function is an HTTP server, which is started before its call. " +
      "`lambda`: the function asks AWS Lambda's Runtime API for its calls, and is started before them. " +
      "`files` unless the image has a label `slipway.contract`.",
    examples: ["files"],
  }),
  content_type: Nullable(
    Type.String({
      minLength: 1,
      maxLength: 255,
      description:
        "The content type of an answer that names none, with the contract `stdio`; null for `application/octet-stream`.",
      examples: [null],
    }),
  ),
  output: Enum(OUTPUTS, {
    description:
      "What the function prints with the contract `stdio`. `raw`: the body of the answer. `cgi`: headers, an empty line and the body, as CGI " +
      "programs do.",
    examples: ["raw"],
  }),
  stream: Flag(
    "With the contract `stdio`: send the answer from the first byte that the function prints, not from 64 KiB on, and without a limit of its " +
      "size. Its exit code has no say then: a failure cuts the connection.",
  ),
};

/** The resources of a container. */
const resources = {
  timeout_ms: Type.Integer({
    minimum: TIMEOUT_MS.min,
    maximum: TIMEOUT_MS.max,
    description:
      "How long a call may run, in milliseconds; then it is killed and the caller gets a 504. " +
      `More than ${COLLECTED_TIMEOUT_MS} only with the contract \`http\`.`,
    examples: [TIMEOUT_MS.default],
  }),
  memory_bytes: Type.Integer({
    minimum: MEMORY_BYTES.min,
    maximum: MEMORY_BYTES.max,
    description: "Memory limit in bytes, without swap. The context's tmpfs counts towards it.",
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
    description: "The most processes and threads, the gate included.",
    examples: [PIDS.default],
  }),
  nofile: Nullable(
    Type.Integer({
      minimum: NOFILE.min,
      maximum: NOFILE.max,
      description:
        `The most files that a process may have open (RLIMIT_NOFILE, soft and hard); null for ${NOFILE.soft}, which a process may raise ` +
        `for itself up to ${NOFILE.hard}.`,
      examples: [null],
    }),
  ),
  context_bytes: Nullable(
    Type.Integer({
      minimum: CONTEXT_SIZE.min,
      maximum: CONTEXT_SIZE.max,
      description:
        "Size of the tmpfs with the context, in bytes; less than `memory_bytes`, towards which it counts. " +
        "Null for 64 MiB, or half of the memory if that is less.",
      examples: [null],
    }),
  ),
  scratch_bytes: Nullable(
    Type.Integer({
      minimum: SCRATCH_SIZE.min,
      maximum: SCRATCH_SIZE.max,
      description:
        "With the isolation `cell`: the most that a call can write to the root filesystem, in bytes; a file of the image that is changed counts as a whole. " +
        "Counts towards `memory_bytes`. Null for a quarter of the memory, or half of what fits beside the context if that is less. A read-only root needs none.",
      examples: [null],
    }),
  ),
  log_bytes: Nullable(
    Type.Integer({
      minimum: 0,
      maximum: LOG_LIMIT.max,
      description:
        "The most output that is kept per call, in bytes: of more, the first half and the last are kept. Null for the server's LOG_BYTES.",
      examples: [null],
    }),
  ),
};

/** The list of volumes, as a record or a request has them. */
const volumes = {
  maxItems: VOLUMES.max,
  description:
    "Named volumes of the engine, and where the function finds each; never a path of the host. What a call writes there stays for " +
    "every other call, and for other functions with the volume. In the sandbox `strict` only those with `read_only`.",
  examples: [[{ name: "models", path: "/models", read_only: true }]],
};

/** The value of `network` for the server's own bridge, whose containers cannot reach each other. */
export const ISOLATED = "isolated";

/** The surroundings of a container, and its confinement. */
const surroundings = {
  network: Type.String({
    minLength: 1,
    maxLength: 128,
    description:
      "`bridge`; `isolated`, a bridge on which functions cannot connect to each other; `none`; or the name of one of the engine's networks. " +
      "Never `host` or another container's network. " +
      "With the sandbox `strict` the default is `none`, else with the contract `http` it is `isolated`.",
    examples: ["bridge"],
  }),
  share_network: Flag(
    "Let the function's instances share one network namespace, including its loopback; that halves the cost of starting one. " +
      "Instances of different functions never share.",
  ),
  sandbox: Enum(SANDBOXES, {
    description:
      "`default`: Docker's capabilities without NET_RAW, MKNOD, SETFCAP and AUDIT_WRITE. `strict`: no capabilities, a read-only root, " +
      "a sized tmpfs in place of each of the image's volumes, a user other than root, and no network unless one is given. " +
      "It sets `network` and `read_only`, which stay if the sandbox is changed back. " +
      "`docker`: the engine's own defaults, for images that need capabilities.",
    examples: ["default"],
  }),
  runtime: Nullable(
    Type.String({
      minLength: 1,
      maxLength: 128,
      description: "One of the engine's runtimes, such as `runsc`; null for the engine's default.",
      examples: [null],
    }),
  ),
  read_only: Flag(
    "Mount the root filesystem read-only, with a tmpfs at /tmp, and one in place of each of the image's volumes, that count towards the memory.",
  ),
  volumes: Type.Array(NamedVolume, volumes),
  labels: Type.Unsafe<Record<string, string>>(
    // Not Type.Record: its pattern lets a key with a line separator (U+2028) have a value of any type.
    Type.Object(
      {},
      {
        additionalProperties: Type.String({ maxLength: LABELS.value_length }),
        maxProperties: LABELS.max,
        description: "Labels for the function's containers; none may begin with `slipway.`.",
        examples: [{ team: "checkout" }],
      },
    ),
  ),
};

/** The pool of instances. */
const instances = {
  isolation: Enum(ISOLATIONS, {
    description:
      "What each call gets fresh. `container`: a container of its own. `cell`: a filesystem and a process tree of its own in a container that " +
      "may have served calls before; not every engine can. `process`: a process of its own there. " +
      "A `max_calls` other than 1 without `isolation` is `process`. With the contract `http` always `container`.",
    examples: ["container"],
  }),
  max_calls: Type.Integer({
    minimum: 0,
    maximum: MAX_CALLS.max,
    description:
      "How many calls a container serves before it is replaced; 0 for no limit. Always 1 with the isolation `container`, but for the " +
      "contract `http`; 0 by default with `cell` and `process`.",
    examples: [MAX_CALLS.default],
  }),
  max_concurrency: Type.Integer({
    minimum: 0,
    maximum: MAX_CONCURRENCY.max,
    description: "The most calls that run at the same time; further calls wait. 0 for the server's limit only.",
    examples: [MAX_CONCURRENCY.default],
  }),
  warm_min: Type.Integer({
    minimum: 0,
    maximum: WARM_MIN.max,
    description: "Instances that are kept ready even without calls.",
    examples: [WARM_MIN.default],
  }),
  warm_max: Type.Integer({
    minimum: 0,
    maximum: WARM_MAX.max,
    description: `The most instances that are kept ready; with 0 every call is cold. ${HTTP_WARM_MAX} by default with the contract \`http\`.`,
    examples: [WARM_MAX.default],
  }),
  idle_ttl_ms: Type.Integer({
    minimum: IDLE_TTL_MS.min,
    maximum: IDLE_TTL_MS.max,
    description: "How long instances are kept ready after the last call, in milliseconds.",
    examples: [IDLE_TTL_MS.default],
  }),
};

/** The schemas of the settings by subject, in the order in which forms have them. */
export const SETTING_GROUPS = {
  process,
  contract,
  http: HTTP_SETTINGS,
  resources,
  surroundings,
  instances,
  asynchronous: ASYNC_SETTINGS,
} as const;

/** The schemas of the settings, which have defaults and can be changed; so can `environment`. */
export const SETTINGS = {
  ...process,
  ...contract,
  ...HTTP_SETTINGS,
  ...resources,
  ...surroundings,
  ...instances,
  ...ASYNC_SETTINGS,
} as const;

/** The same as a request gives them: what it leaves out of `retry` and `volumes` has its default. */
export const GIVEN_SETTINGS = { ...SETTINGS, retry: GivenRetry, volumes: Type.Array(GivenVolume, volumes) } as const;

/** A function's settings. */
export const Settings = Type.Object(SETTINGS);
export type Settings = Static<typeof Settings>;

/** The defaults of the settings; labels of an image can give others. */
export const SETTING_DEFAULTS: Settings = {
  entrypoint: null,
  command: null,
  user: null,
  working_dir: null,
  secrets: [],
  ...CONTRACT_DEFAULTS,
  timeout_ms: TIMEOUT_MS.default,
  memory_bytes: MEMORY_BYTES.default,
  cpus: CPUS.default,
  pids: PIDS.default,
  nofile: null,
  context_bytes: null,
  scratch_bytes: null,
  log_bytes: null,
  network: "bridge",
  share_network: false,
  sandbox: "default",
  runtime: null,
  read_only: false,
  volumes: [],
  labels: {},
  isolation: "container",
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
  store_credentials: false,
};
