import { Type, type Static } from "@sinclair/typebox";
import { Environment } from "./environment.ts";
import { AppError } from "./errors.ts";
import {
  CPUS,
  IDLE_TTL_MS,
  IMAGE_REFERENCE_LENGTH,
  MAX_CALLS,
  MAX_CONCURRENCY,
  MEMORY_BYTES,
  NAME_LENGTH,
  PIDS,
  TIMEOUT_MS,
  WARM_MAX,
  WARM_MIN,
} from "./limits.ts";
import { Nullable, Timestamp } from "./types.ts";

/** A label that stands for a function's id in every path. No UUID may be a name, so that neither hides the other. */
export const FunctionName = Type.String({
  pattern: "^[a-z0-9-]+$",
  minLength: 1,
  maxLength: NAME_LENGTH,
  description: `Unique; stands for the id in every path. Lower-case letters, digits and "-", at most ${NAME_LENGTH}; no UUID.`,
  examples: ["hello-world"],
});

/** An image plus its settings, registered under an id. */
export const Function = Type.Object({
  id: Type.String({ description: "A UUID made by the server.", examples: ["0b9a4f2e-3f0c-4a52-9a57-6a3d5e2f8c11"] }),
  name: Nullable(FunctionName),
  image: Type.String({
    minLength: 1,
    maxLength: IMAGE_REFERENCE_LENGTH,
    description: "The image reference as it was sent; without a tag, `latest` is meant.",
    examples: ["ghcr.io/xprnio/serverless-hello-world:latest"],
  }),
  image_id: Nullable(
    Type.String({
      description:
        "The engine's id of the image that calls run; null until a function of an older database is first called.",
      examples: ["sha256:4f15e3730ee4073e13d2536d3b5a577f88a63268350c598aa48d92abc79c3b6a"],
    }),
  ),
  digest: Nullable(
    Type.String({
      description:
        "The repository digest that the image had when it was resolved; null for an image that exists only locally.",
      examples: [
        "ghcr.io/xprnio/serverless-hello-world@sha256:9b2f0a4f9d0e9f6c1a7f1f1f6a0c4c2b9f6f0d7c1f5b3f6c8a1d2e3f4a5b6c7d",
      ],
    }),
  ),
  environment: Environment,
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
  share_network: Type.Boolean({
    description:
      "Let the function's instances share one network namespace, and so a loopback; it halves what the engine does for each. " +
      "Those of different functions never do.",
    examples: [false],
  }),
  read_only: Type.Boolean({
    description: "Mount the root filesystem read-only, with a tmpfs at /tmp that counts as memory.",
    examples: [false],
  }),
  created_at: Timestamp,
  updated_at: Timestamp,
});
export type Function = Static<typeof Function>;

/** Settings that have a default and can be given and changed. */
const SETTINGS = [
  "name",
  "timeout_ms",
  "memory_bytes",
  "cpus",
  "pids",
  "max_calls",
  "max_concurrency",
  "warm_min",
  "warm_max",
  "idle_ttl_ms",
  "share_network",
  "read_only",
] as const;

/** The instances of a function, as they are now. */
export const PoolState = Type.Object({
  ready: Type.Integer({ description: "Waiting for a call." }),
  starting: Type.Integer({ description: "Being started." }),
  busy: Type.Integer({ description: "Serving a call." }),
  target: Type.Integer({ description: "How many should be ready, by what was called lately." }),
});
export type PoolState = Static<typeof PoolState>;

/** The answer of `GET /v1/functions/:id`: the record and its pool. */
export const FunctionWithPool = Type.Composite([Function, Type.Object({ pool: PoolState })]);
export type FunctionWithPool = Static<typeof FunctionWithPool>;

/** The body of `POST /v1/functions`. */
export const CreateFunction = Type.Composite(
  [
    Type.Pick(Function, ["image"]),
    Type.Partial(Type.Pick(Function, [...SETTINGS])),
    Type.Object({ environment: Type.Optional(Nullable(Environment)) }),
  ],
  { additionalProperties: false },
);
export type CreateFunction = Static<typeof CreateFunction>;

/** The body of `PATCH /v1/functions/:id`: what is absent stays as it is. */
export const UpdateFunction = Type.Partial(CreateFunction, { additionalProperties: false });
export type UpdateFunction = Static<typeof UpdateFunction>;

/** What every function has unless it was given. */
export const FUNCTION_DEFAULTS = {
  name: null,
  environment: {},
  timeout_ms: TIMEOUT_MS.default,
  memory_bytes: MEMORY_BYTES.default,
  cpus: CPUS.default,
  pids: PIDS.default,
  max_calls: MAX_CALLS.default,
  max_concurrency: MAX_CONCURRENCY.default,
  warm_min: WARM_MIN.default,
  warm_max: WARM_MAX.default,
  idle_ttl_ms: IDLE_TTL_MS.default,
  share_network: false,
  read_only: false,
} as const satisfies Partial<Function>;

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Throws `invalid_request` for a name that could be mistaken for an id. */
export function checkFunctionName(name: string): void {
  if (UUID.test(name)) {
    throw new AppError(
      "invalid_request",
      `Invalid "name" "${name}": it looks like an id; choose a name that is no UUID`,
    );
  }
}

/** Throws `invalid_request` where settings contradict each other. */
export function checkWarm({ warm_min, warm_max }: Pick<Function, "warm_min" | "warm_max">): void {
  if (warm_min > warm_max) {
    throw new AppError(
      "invalid_request",
      `"warm_min" is ${warm_min} and "warm_max" only ${warm_max}: raise the one or lower the other`,
    );
  }
}
