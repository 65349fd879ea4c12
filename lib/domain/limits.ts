/** Every limit that is not an option of the server, in one place. Units are in the names. */

const KIB = 1024;
const MIB = 1024 * KIB;

/** The defaults and bounds of a function's settings (DESIGN.md section 3). */
export const TIMEOUT_MS = { default: 30_000, min: 100, max: 15 * 60_000 } as const;
/** The floor is the context's tmpfs, which counts as memory, and what a small program needs beside it. */
export const MEMORY_BYTES = { default: 256 * MIB, min: 16 * MIB, max: 1024 * 1024 * MIB } as const;
export const CPUS = { default: 1, min: 0.01, max: 1024 } as const;
/** The floor: the gate, the function, and a child or two. */
export const PIDS = { default: 128, min: 4, max: 32_768 } as const;

/** Calls that one instance serves; 0 is no limit. A fresh container for each is what this server is for. */
export const MAX_CALLS = { default: 1, max: 1_000_000 } as const;
/** Calls of a function that run at once; 0 leaves it to the server's own limit. */
export const MAX_CONCURRENCY = { default: 0, max: 10_000 } as const;
/** Instances that are kept ready: each costs some 5 MB of the machine's memory while it waits. */
export const WARM_MIN = { default: 0, max: 1_000 } as const;
export const WARM_MAX = { default: 10, max: 1_000 } as const;
/** How long a function that nobody calls stays warm, from the last call. */
export const IDLE_TTL_MS = { default: 5 * 60_000, min: 1_000, max: 7 * 24 * 3_600_000 } as const;

/** Attempts at an asynchronous invocation, and the wait between two, in milliseconds. */
export const RETRY_ATTEMPTS = { default: 3, max: 100 } as const;
export const RETRY_DELAY_MS = { min_default: 1_000, max_default: 60_000, max: 24 * 3_600_000 } as const;
/** Attempts that may be lost with the server or the engine: one that ends them every time must not do so for ever. */
export const LOST_ATTEMPTS = 100;
/** Higher goes first, among the invocations of one function. */
export const PRIORITY = { min: -100, max: 100 } as const;
/** How far ahead an invocation may be submitted, in milliseconds. */
export const DELAY_MS = 366 * 24 * 3_600_000;
/** How long an Idempotency-Key is remembered, in milliseconds, and how long it may be. */
export const IDEMPOTENCY = { ttl_ms: 24 * 3_600_000, key_length: 255 } as const;
/** A callback's URL; what is longer is refused by many servers. */
export const CALLBACK_URL_LENGTH = 2048;
/** How callbacks are sent: attempts and the waits between them, what an attempt may take, and what is sent at most. */
export const CALLBACK = {
  attempts: 12,
  min_ms: 5_000,
  max_ms: 3_600_000,
  timeout_ms: 10_000,
  at_once: 8,
  response_bytes: MIB,
  /** Of the receiver's answer, which is read and thrown away. */
  answer_bytes: 64 * KIB,
} as const;
/** How long callbacks are signed with the secret before the last rotation, too, in milliseconds. */
export const CALLBACK_ROTATION_MS = 24 * 3_600_000;
/** Links of a chain of functions (`on_success`, `on_failure`). */
export const CHAIN_DEPTH = 16;
/** Schedules are listed whole, so their number has a limit; and their expressions have one. */
export const SCHEDULES = 10_000;
export const CRON_LENGTH = 256;
/** Dead invocations that one request replays, and the longest wait for the end of one, in milliseconds. */
export const REPLAYS = { default: 100, max: 1_000 } as const;
export const WAIT_MS = 60_000;
/** Invocations that may be queued, of all functions. */
export const QUEUED = 1_000_000;

/** The tmpfs that holds the context, at most; it counts as memory, so a smaller function gets half of its own. */
export const CONTEXT_BYTES = 64 * MIB;
export const CONTEXT_SIZE = { min: MIB, max: 64 * 1024 * MIB } as const;
/** Arguments of an entrypoint or a command, and the longest one: the kernel's MAX_ARG_STRLEN leaves far more. */
export const COMMAND_ARGUMENTS = 256;
/** An entrypoint, or a command, in all: with the environment it stays far below what the kernel hands to a process. */
export const COMMAND_BYTES = 256 * KIB;
export const PATH_LENGTH = 4095;
/** Labels of a function's containers. */
export const LABELS = { max: 64, key_length: 255, value_length: 4096 } as const;
/** Secrets that one function is given: they are handed over at each call. */
export const SECRETS_OF_FUNCTION = 64;
/** A secret's value: as a variable the kernel would take twice that. */
export const SECRET_BYTES = 64_000;
/** All of a function's secrets together: they are sent at each call, and their files count as memory. */
export const SECRETS_OF_FUNCTION_BYTES = 512 * KIB;
/** The tmpfs that holds those that are files: the last page of each may be all but empty. */
export const SECRETS_FILES_BYTES = SECRETS_OF_FUNCTION_BYTES + SECRETS_OF_FUNCTION * 4 * KIB;
/** Secrets, registries and keys are listed whole, so their number has a limit. */
export const SECRETS = 10_000;
export const REGISTRIES = 1_000;
/** Some registries take a JSON key file or a token of some kilobytes as the password. */
export const REGISTRY_PASSWORD_LENGTH = 16 * KIB;
export const REGISTRY_USERNAME_LENGTH = 255;
/** Entries of a config.json: each is checked with its registry. */
export const REGISTRY_IMPORTS = 100;
export const KEYS = 10_000;
/** What `docker run --ulimit nofile` would be given. */
export const NOFILE = 1024;

/** A request body handed to a function, and what it may answer; both are server options with this default. */
export const REQUEST_BYTES = 6 * MIB;
export const RESPONSE_BYTES = 6 * MIB;
/** What a function may say of its answer in response.meta.json: one frame of the gate's protocol. */
export const RESPONSE_META_BYTES = 64 * KIB;
export const RESPONSE_HEADERS = 256;
/** Output of a call that is kept. */
export const LOG_BYTES = 64 * KIB;
/** The most that a function may ask for: logs of a call are held in memory until it ends. */
export const LOG_LIMIT = { max: 4 * MIB } as const;

/** The kernel refuses a single `KEY=value` string of 128 KiB (MAX_ARG_STRLEN), its NUL included. */
export const ENVIRONMENT_ENTRY_BYTES = 128 * KIB - 1;
/** All entries together; the kernel's limit is a quarter of the stack (2 MiB), shared with the arguments. */
export const ENVIRONMENT_BYTES = 512 * KIB;
export const ENVIRONMENT_ENTRIES = 1000;

export const NAME_LENGTH = 63;
export const ROUTE_PATH_BYTES = 1024;
export const IMAGE_REFERENCE_LENGTH = 512;

/** Functions and routes are listed whole, so their number has a limit. */
export const FUNCTIONS = 10_000;
export const ROUTES = 10_000;
/** Versions of a function that are kept; the oldest ones that no route names go first. */
export const VERSIONS = 1_000;

/** A manifest (slipway.yaml): its text, the values in it with all aliases followed, their text with all variables, their nesting. */
export const MANIFEST_BYTES = MIB;
export const MANIFEST_VALUES = 100_000;
export const MANIFEST_EXPANDED_LENGTH = 4 * MIB;
export const MANIFEST_DEPTH = 32;
/** The parser copies a text for each alias of it: so many bytes may that be at most. */
export const MANIFEST_ALIASED_BYTES = 128 * MIB;

/** Methods that a route may have, and what guards it. */
export const RATE = { requests: 1_000_000, window_ms: 24 * 3_600_000 } as const;
export const CORS_ENTRIES = 64;
export const HEADER_LENGTH = 256;
/** The most that a route may let a request body have; the server's MAX_REQUEST_BYTES bounds it too. */
export const ROUTE_REQUEST_BYTES = 1024 * MIB;

/** Records a page of `GET /v1/invocations` holds. */
export const PAGE = { default: 50, max: 500 } as const;

/** From SIGTERM to SIGKILL for a function that ran past its timeout. */
export const KILL_GRACE_MS = 2_000;
/** The server answers 504 by itself when the gate has not said so this long after the deadline. */
export const TIMEOUT_SLACK_MS = 250;

/** Of a request's head. Beyond it, path included, Bun answers 431 with nothing; up to it, we answer. Its default is 16 KiB. */
export const HEADER_BYTES = 64 * KIB;
