/** Every limit that is not an option of the server, in one place. Units are in the names. */

const KIB = 1024;
const MIB = 1024 * KIB;

/** The defaults and bounds of a function's settings. */
export const TIMEOUT_MS = { default: 30_000, min: 100, max: 24 * 3_600_000 } as const;
/** The longest timeout where an answer is collected before it is sent; with the contract `http` it may go on for a day. */
export const COLLECTED_TIMEOUT_MS = 15 * 60_000;
/** The time that a server of the contract `http` has until it listens, in milliseconds: a JVM takes seconds, a model's weights a minute. */
export const BOOT_TIMEOUT_MS = { default: 60_000, min: 100, max: 15 * 60_000 } as const;
/** Silence in either direction of a call of the contract `http`, in milliseconds. */
export const IDLE_TIMEOUT_MS = { min: 100, max: 24 * 3_600_000 } as const;
/** Calls that one instance of the contract `http` serves at the same time: each is a stream of its gate. */
export const CONCURRENCY = { default: 1, max: 64 } as const;
/** Output of the contract `stdio` up to this size waits for the end of its function, whose exit code decides on the answer. */
export const STREAMED_FROM_BYTES = 64 * KIB;
/** TCP ports, and the one that servers use that are told none: Cloud Run, Knative and OpenFaaS all mean 8080. */
export const PORT = { default: 8080, min: 1, max: 65_535 } as const;
/** The path by which a server of the contract `http` says that it is ready. */
export const READY_PATH_LENGTH = 1024;
/** The minimum is for the context's tmpfs, which counts as memory, and a small program. */
export const MEMORY_BYTES = { default: 256 * MIB, min: 16 * MIB, max: 1024 * 1024 * MIB } as const;
export const CPUS = { default: 1, min: 0.01, max: 1024 } as const;
/** The minimum is for the gate, the function, and a child or two. */
export const PIDS = { default: 128, min: 4, max: 32_768 } as const;
/**
 * Open files per process. The default is what systemd gives a service: programs that use select() break above 1,024, and
 * those that need more raise their own limit. The minimum is for the gate, which has a dozen
 * of its own; the maximum is the kernel's (fs.nr_open).
 */
export const NOFILE = { soft: 1024, hard: 65_536, min: 64, max: 1_048_576 } as const;

/** Calls that one instance serves; 0 for no limit, the default of cells and of processes. By default each call gets a fresh container. */
export const MAX_CALLS = { default: 1, unlimited: 0, max: 1_000_000 } as const;
/** Calls of a function that run at the same time; 0 for the server's limit only. */
export const MAX_CONCURRENCY = { default: 0, max: 10_000 } as const;
/** Instances that are kept ready: each costs about 5 MB of the machine's memory while it waits. */
export const WARM_MIN = { default: 0, max: 1_000 } as const;
export const WARM_MAX = { default: 10, max: 1_000 } as const;
/** With the contract `http` each instance that waits holds a booted server, not 5 MB. */
export const HTTP_WARM_MAX = 3;
/** The time that a function stays warm after its last call, in milliseconds. */
export const IDLE_TTL_MS = { default: 5 * 60_000, min: 1_000, max: 7 * 24 * 3_600_000 } as const;

/** Attempts at an asynchronous invocation, and the wait between two, in milliseconds. */
export const RETRY_ATTEMPTS = { default: 3, max: 100 } as const;
export const RETRY_DELAY_MS = { min_default: 1_000, max_default: 60_000, max: 24 * 3_600_000 } as const;
/** Attempts that may be lost with the server or the engine: a function that crashes them must not do so forever. */
export const LOST_ATTEMPTS = 100;
/** The longest lease of an attempt, in milliseconds: a function's longest run, with a minute for its end. */
export const LONGEST_LEASE_MS = TIMEOUT_MS.max + 60_000;
/** The priority of an invocation among those of the same function; higher goes first. */
export const PRIORITY = { min: -100, max: 100 } as const;
/** The longest time ahead that an invocation may be submitted, in milliseconds. */
export const DELAY_MS = 366 * 24 * 3_600_000;
/** The time that an Idempotency-Key is remembered, in milliseconds, and the most characters that it may have. */
export const IDEMPOTENCY = { ttl_ms: 24 * 3_600_000, key_length: 255 } as const;
/** The time for which clients of AWS's API may ask again for an answer that they have missed, in milliseconds. */
export const AWS_ANSWERS_MS = 15 * 60_000;
/** A callback's URL; many servers refuse longer ones. */
export const CALLBACK_URL_LENGTH = 2048;
/** Sending callbacks: how long, the waits in between, how many at once in all and to one receiver, and size limits. */
export const CALLBACK = {
  /** The time for which a callback is tried, and the limit of one attempt; both are options of the server. */
  retry_for_ms: 24 * 3_600_000,
  timeout_ms: 15_000,
  /** The wait before the second attempt, and the longest one: also that which a receiver can ask for. */
  min_ms: 5_000,
  max_ms: 3_600_000,
  at_once: 32,
  to_one_receiver: 2,
  response_bytes: MIB,
  /** The most of the receiver's answer that is read and discarded. */
  answer_bytes: 64 * KIB,
} as const;
/** The time that callbacks are also signed with the previous secret after a rotation, in milliseconds. */
export const CALLBACK_ROTATION_MS = 24 * 3_600_000;
/** Links of a chain of functions (`on_success`, `on_failure`). */
export const CHAIN_DEPTH = 16;
/** The number of schedules, which are listed on one page, and the length of their expressions. */
export const SCHEDULES = 10_000;
export const CRON_LENGTH = 256;
/** The longest name of a time zone, in characters. */
export const TIMEZONE_LENGTH = 64;
/** Dead invocations that one request replays, and the longest wait for the end of an invocation, in milliseconds. */
export const REPLAYS = { default: 100, max: 1_000 } as const;
export const WAIT_MS = 60_000;
/** Entries of the audit log that are kept, by event. They take about 200 bytes each. */
export const AUDIT = { change: 100_000, refused_key: 10_000 } as const;
/** Builds whose records are kept, and the most of each one's output. */
export const BUILDS = 200;
export const BUILD_LOG_BYTES = MIB;
/** Builds whose contexts arrive or wait for their turn: each is a file in the data directory. */
export const BUILDS_WAITING = 8;
/** The largest Dockerfile; Docker's own files have a few kilobytes. */
export const DOCKERFILE_BYTES = MIB;
/** The time for which the image of a build stays although no function uses it yet, in milliseconds. */
export const BUILT_IMAGE_MS = 3_600_000;
/** Queued invocations of all functions. */
export const QUEUED = 1_000_000;

/** The largest tmpfs for the context; it counts as memory, so a small function gets half of its memory. */
export const CONTEXT_BYTES = 64 * MIB;
export const CONTEXT_SIZE = { min: MIB, max: 64 * 1024 * MIB } as const;
/** A cell's scratch space, which counts as memory, too: by default the memory divided by the share. */
export const SCRATCH_SIZE = { min: MIB, max: 64 * 1024 * MIB, share: 4 } as const;
/** The cell's `/dev` is a tmpfs of its own, of a quarter of the scratch space. */
export const CELL_DEV_SHARE = 4;
/** The memory that the gate keeps for itself and its helpers: a share of the function's, up to a number of bytes. */
export const GATE_RESERVE = { share: 8, most: 4 * MIB } as const;
/** Arguments of an entrypoint or a command; the kernel allows far more. */
export const COMMAND_ARGUMENTS = 256;
/** The total size of an entrypoint or a command: even with the environment it is far below the kernel's limit. */
export const COMMAND_BYTES = 256 * KIB;
export const PATH_LENGTH = 4095;
/** Named volumes of a function. A volume is a directory of the engine's, so its name is no longer than a file's. */
export const VOLUMES = { max: 16, name_length: 255 } as const;
/** Labels of a function's containers. */
export const LABELS = { max: 64, key_length: 255, value_length: 4096 } as const;
/** Secrets of one function: they are handed over at each call. */
export const SECRETS_OF_FUNCTION = 64;
/** A secret's value: half of what the kernel allows for a variable. */
export const SECRET_BYTES = 64_000;
/** All secrets of a function: they are sent at each call, and their files count as memory. */
export const SECRETS_OF_FUNCTION_BYTES = 512 * KIB;
/** The tmpfs for secrets that are files: the last page of each may be almost empty. */
export const SECRETS_FILES_BYTES = SECRETS_OF_FUNCTION_BYTES + SECRETS_OF_FUNCTION * 4 * KIB;
/** Secrets, registries and keys are listed on one page, so their numbers are limited. */
export const SECRETS = 10_000;
export const REGISTRIES = 1_000;
/** For some registries the password is a JSON key file or a token of several kilobytes. */
export const REGISTRY_PASSWORD_LENGTH = 16 * KIB;
export const REGISTRY_USERNAME_LENGTH = 255;
/** Entries of a config.json: each one is checked with its registry. */
export const REGISTRY_IMPORTS = 100;
export const KEYS = 10_000;

/** The request body for a function, and its response; both are server options with this default. */
export const REQUEST_BYTES = 6 * MIB;
export const RESPONSE_BYTES = 6 * MIB;
/** A function's response.meta.json: one frame of the gate's protocol. */
export const RESPONSE_META_BYTES = 64 * KIB;
export const RESPONSE_HEADERS = 256;
/** The headers that a CGI program prints in front of its answer; many servers stop at less. */
export const CGI_HEAD_BYTES = 64 * KIB;
/** The head of an answer of the contract `http`, interim answers included. */
export const RESPONSE_HEAD_BYTES = 64 * KIB;
/** An answer of the contract `http` that declares at most this length is taken as a whole and sent with its length. */
export const COLLECTED_BYTES = 256 * KIB;
/** The variables of a call, its secrets included: the room that the gate has for them. */
export const GATE_VARIABLES_BYTES = MIB;
/** The output that is kept of a call. */
export const LOG_BYTES = 64 * KIB;
/** The most that a function may ask for: the logs of a call are in memory until it ends. */
export const LOG_LIMIT = { max: 4 * MIB } as const;

/** The kernel refuses a single `KEY=value` string of 128 KiB (MAX_ARG_STRLEN), including its NUL. */
export const ENVIRONMENT_ENTRY_BYTES = 128 * KIB - 1;
/** All entries; the kernel's limit is a quarter of the stack (2 MiB), shared with the arguments. */
export const ENVIRONMENT_BYTES = 512 * KIB;
export const ENVIRONMENT_ENTRIES = 1000;

export const NAME_LENGTH = 63;
export const ROUTE_PATH_BYTES = 1024;
/** Host names of one route, and the characters of a name (RFC 1035, 2.3.4). */
export const ROUTE_HOSTS = 16;
export const HOST_LENGTH = 253;
export const IMAGE_REFERENCE_LENGTH = 512;

/** Functions and routes are listed on one page, so their numbers are limited. */
export const FUNCTIONS = 10_000;
export const ROUTES = 10_000;
/** Versions of a function that are kept; the oldest that no route names are dropped first. */
export const VERSIONS = 1_000;

/** A manifest (slipway.yaml): its text, its values with all aliases resolved, their text with all variables, their nesting. */
export const MANIFEST_BYTES = MIB;
export const MANIFEST_VALUES = 100_000;
export const MANIFEST_EXPANDED_LENGTH = 4 * MIB;
export const MANIFEST_DEPTH = 32;
/** Entries of one list or object in a manifest: its functions, or its routes. */
export const MANIFEST_PART_ENTRIES = 10_000;
/** Values of one function or one route in a manifest: some 10 ms of the event loop. */
export const MANIFEST_ENTRY_VALUES = 10_000;
/** The most bytes that the parser may copy: it copies a text for each of its aliases. */
export const MANIFEST_ALIASED_BYTES = 128 * MIB;

/** The rate limit, CORS lists and header names of a route. */
export const RATE = { requests: 1_000_000, window_ms: 24 * 3_600_000 } as const;
export const CORS_ENTRIES = 64;
export const HEADER_LENGTH = 256;
/** The largest request body that a route may allow, within the server's MAX_REQUEST_BYTES. */
export const ROUTE_REQUEST_BYTES = 1024 * MIB;

/** Records on a page of `GET /v1/invocations`. */
export const PAGE = { default: 50, max: 500 } as const;

/**
 * Figures of the past (`GET /v1/stats`): how long those of minutes and of hours are kept, the points of one answer, and how
 * many a client gets that asks for no step.
 */
export const STATS = {
  minutes_ms: 48 * 3_600_000,
  hours_ms: 90 * 24 * 3_600_000,
  /** So much older a range may begin: its client has computed the beginning before it asked. */
  slack_ms: 300_000,
  points: 1_500,
  points_by_default: 180,
} as const;
/**
 * The minutes, or the hours, with calls whose figures are kept, somewhat more than the times above; and the rows and bytes of
 * each kind for single functions. Those of all functions together are never fewer, and take 5,200 rows at most.
 */
export const STATS_KEPT = {
  minute: { buckets: 3_000, rows: 250_000, bytes: 64 * MIB },
  hour: { buckets: 2_200, rows: 250_000, bytes: 64 * MIB },
} as const;

/** The time from SIGTERM to SIGKILL for a function that ran past its timeout. */
export const KILL_GRACE_MS = 2_000;
/** The time after the deadline that the server waits for the gate's report before it answers 504 by itself. */
export const TIMEOUT_SLACK_MS = 250;

/** The slowest a request body may be on average, in bytes a second, so that few slow clients cannot hold much for long. */
export const LEAST_BYTES_PER_S = 1_000;
/** Between two requests of a connection, in milliseconds. Bun counts up to 255 s. */
export const KEEP_ALIVE_MS = { default: 75_000, min: 1_000, max: 240_000 } as const;
/** Without a byte in a request body or an answer, in milliseconds. */
export const STALL_TIMEOUT_MS = { default: 60_000, min: 1_000, max: 3_600_000 } as const;

/** The largest head of a request, its path included. Beyond it, Bun answers an empty 431. Bun's default is 16 KiB. */
export const HEADER_BYTES = 64 * KIB;
