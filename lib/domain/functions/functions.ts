import { Type, type Static } from "@sinclair/typebox";
import { Environment } from "../environment.ts";
import { CONTRACT_REASONS, PORT_REASONS } from "./contract.ts";
import { AppError } from "../errors.ts";
import { FunctionName, SETTING_DEFAULTS, GIVEN_SETTINGS, SETTINGS, type Settings } from "./settings.ts";
import { IMAGE_REFERENCE_LENGTH, PORT } from "../limits.ts";
import { Enum, Flag, Nullable, Timestamp } from "../types.ts";

/** An image plus its settings, registered under an id. */
export const Function = Type.Object({
  id: Type.String({ description: "A UUID made by the server.", examples: ["0b9a4f2e-3f0c-4a52-9a57-6a3d5e2f8c11"] }),
  name: Nullable(FunctionName),
  image: Type.String({
    minLength: 1,
    maxLength: IMAGE_REFERENCE_LENGTH,
    description: "The image reference as it was sent; without a tag, it means `latest`.",
    examples: ["ghcr.io/xprnio/serverless-hello-world:latest"],
  }),
  image_id: Nullable(
    Type.String({
      description:
        "The engine's id of the image that calls run; null in older databases until the function is first called. Of several servers, the engine of the one that registered the image: others may have other ids for the same `digest`.",
      examples: ["sha256:4f15e3730ee4073e13d2536d3b5a577f88a63268350c598aa48d92abc79c3b6a"],
    }),
  ),
  digest: Nullable(
    Type.String({
      description:
        "The repository digest of the image when it was resolved; null for an image that exists only locally.",
      examples: [
        "ghcr.io/xprnio/serverless-hello-world@sha256:9b2f0a4f9d0e9f6c1a7f1f1f6a0c4c2b9f6f0d7c1f5b3f6c8a1d2e3f4a5b6c7d",
      ],
    }),
  ),
  environment: Environment,
  ...SETTINGS,
  contract_reason: Enum(CONTRACT_REASONS, {
    description:
      "What chose `contract`: the `setting` itself; a `label` of the image; a sign of the image: OpenFaaS's `watchdog`, a program of AWS's `lambda_runtime`, the port of AWS's " +
      "`web_adapter`, the launcher of a `buildpack`, the `functions_framework`, or, since it listened in a trial, its `port_variable` PORT or its " +
      "`exposed_port`; `ended` if it exited there instead; or the `default`, as nothing said otherwise.",
    examples: ["default"],
  }),
  port_reason: Nullable(
    Enum(PORT_REASONS, {
      description:
        "What named `port`: the `setting` itself, a `label` of the image, the `variable` `PORT` of the function or its image, the one port that " +
        `the image has \`exposed\`, or the \`default\`, ${PORT.default}. Null for other contracts than \`http\`.`,
      examples: [null],
    }),
  ),
  extra_ports: Type.Array(Type.Integer({ minimum: PORT.min, maximum: PORT.max }), {
    description:
      "Further ports that must listen before a function of the contract `http` gets a call, such as that of the server behind OpenFaaS's watchdog. The image names them.",
    examples: [[]],
  }),
  version: Type.Integer({
    minimum: 1,
    description:
      "The number of this version of the function: each change of the image or the settings makes a new one.",
    examples: [1],
  }),
  created_at: Timestamp,
  updated_at: Timestamp,
});
export type Function = Static<typeof Function>;

/** The fields that follow from the image, the settings and the variables, and that no request gives. */
export type Origins = Pick<Function, "contract_reason" | "port_reason" | "extra_ports">;

/** The current instances of a function. */
export const PoolState = Type.Object({
  ready: Type.Integer({ description: "Waiting for a call." }),
  starting: Type.Integer({ description: "Being started." }),
  busy: Type.Integer({ description: "Serving a call." }),
  booting: Type.Optional(
    Type.Integer({
      description: "Started, and not ready yet as the function boots; only with the contracts `http` and `lambda`.",
    }),
  ),
  streams: Type.Optional(
    Type.Integer({
      description:
        "The calls that the busy instances serve: each up to `concurrency`; only with the contracts `http` and `lambda`.",
    }),
  ),
  target: Type.Integer({ description: "How many should be ready, based on recent calls." }),
  problem: Type.Optional(
    Type.String({
      description:
        "Why the last start of an instance failed, and how to fix it. Only there until a start succeeds, the function is changed or the engine is back.",
    }),
  ),
});
export type PoolState = Static<typeof PoolState>;

/** The instances of one version of a function. */
export const VersionPool = Type.Object({
  version: Type.Integer({ description: "The number of the version.", examples: [1] }),
  ...PoolState.properties,
});
export type VersionPool = Static<typeof VersionPool>;

/** The instances of a function: those of its current version, and of others. */
const FunctionPools = Type.Object({
  pool: PoolState,
  version_pools: Type.Array(VersionPool, {
    description: "The instances of other versions: those that routes name and those that are still in use.",
    examples: [[]],
  }),
});
export type FunctionPools = Static<typeof FunctionPools>;

/** The answer of `GET /v1/functions/:id`: the record and its instances. */
export const FunctionWithPool = Type.Object({ ...Function.properties, ...FunctionPools.properties });
export type FunctionWithPool = Static<typeof FunctionWithPool>;

/** The answer to a registration or a change: the record, and what is wrong with it. */
export const ChangedFunction = Type.Object({
  ...Function.properties,
  warnings: Type.Optional(
    Type.Array(Type.String(), {
      description:
        "Why the function would not serve a call as it is, although it was saved: an instance exits, or listens on another port; " +
        "or why an image that exposes a port was not taken for a server (`contract_reason` is `ended`). " +
        "Only there if something is wrong; `probe` false leaves out the first.",
      examples: [
        [
          "The function was saved, but it does not run: it ended before it listened on port 8080, with exit code 1: Error: DATABASE_URL is not set",
        ],
      ],
    }),
  ),
});
export type ChangedFunction = Static<typeof ChangedFunction>;

/** The body of `POST /v1/functions`. */
export const CreateFunction = Type.Object(
  {
    image: Function.properties.image,
    ...Type.Partial(Type.Object({ name: Function.properties.name, ...GIVEN_SETTINGS })).properties,
    environment: Type.Optional(Nullable(Environment)),
    probe: Type.Optional(
      Flag(
        "Wait until an instance of a function of the contract `http` or `lambda` is ready, for its `boot_timeout_ms` at most, and say in the answer (`warnings`) if " +
          "it does not; true unless it is given. It is no setting of the function.",
      ),
    ),
  },
  { additionalProperties: false },
);
export type CreateFunction = Static<typeof CreateFunction>;

/** The body of `PATCH /v1/functions/:id`: absent fields stay as they are. */
export const UpdateFunction = Type.Partial(CreateFunction, { additionalProperties: false });
export type UpdateFunction = Static<typeof UpdateFunction>;

/** The defaults of a function. */
export const FUNCTION_DEFAULTS: Settings & Pick<Function, "name" | "environment" | "version" | keyof Origins> = {
  ...SETTING_DEFAULTS,
  name: null,
  environment: {},
  contract_reason: "default",
  port_reason: null,
  extra_ports: [],
  version: 1,
};

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Throws `invalid_request` for a name that could be mistaken for an id. */
export function checkFunctionName(name: string): void {
  if (UUID.test(name)) {
    throw new AppError(
      "invalid_request",
      `Invalid "name" "${name}": it looks like an id; choose a name that is not a UUID`,
    );
  }
}
