import { Type, type Static } from "@sinclair/typebox";
import { Environment } from "./environment.ts";
import { AppError } from "./errors.ts";
import { CPUS, IMAGE_REFERENCE_LENGTH, MEMORY_BYTES, NAME_LENGTH, PIDS, TIMEOUT_MS } from "./limits.ts";
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
  created_at: Timestamp,
  updated_at: Timestamp,
});
export type Function = Static<typeof Function>;

/** The body of `POST /v1/functions`. */
export const CreateFunction = Type.Composite(
  [
    Type.Pick(Function, ["image"]),
    Type.Partial(Type.Pick(Function, ["name", "timeout_ms", "memory_bytes", "cpus", "pids"])),
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
