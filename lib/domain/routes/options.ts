import { Type, type Static } from "@sinclair/typebox";
import { Hosts } from "./hosts.ts";
import { checkCors, Cors, fullCors, GivenCors } from "./cors.ts";
import { AppError } from "../errors.ts";
import { type ContractName, isBooted } from "../functions/contract.ts";
import { HEADER_NAME } from "../calls/headers.ts";
import { HEADER_LENGTH, RATE, ROUTE_REQUEST_BYTES } from "../limits.ts";
import { Enum, Flag, Nullable } from "../types.ts";

/** Methods that a route can have. */
export const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] as const;

const rateFields = {
  requests: Type.Integer({
    minimum: 1,
    maximum: RATE.requests,
    description: "Requests that a caller may make in one window, in a burst or spread out.",
    examples: [60],
  }),
  window_ms: Type.Integer({
    minimum: 1_000,
    maximum: RATE.window_ms,
    description: "The time in which an empty bucket fills up, in milliseconds.",
    examples: [60_000],
  }),
  by: Enum(["address", "key"], {
    description:
      "What identifies a caller: the address of its connection (for IPv6 the /64), " +
      "or, on a route with `auth: key`, its API key.",
    examples: ["address"],
  }),
};
const rateText = { additionalProperties: false, description: "A token bucket for each caller; null for no limit." };

/** A token bucket for each caller. */
export const RateLimit = Type.Object(rateFields, rateText);
export type RateLimit = Static<typeof RateLimit>;
const GivenRateLimit = Type.Object({ ...rateFields, by: Type.Optional(rateFields.by) }, rateText);
type GivenRateLimit = Static<typeof GivenRateLimit>;

/** Two versions of a function that share a route's calls. */
export const Split = Type.Object(
  {
    version: Type.Integer({
      minimum: 1,
      description: "The other version, which gets part of the calls.",
      examples: [2],
    }),
    percent: Type.Integer({
      minimum: 0,
      maximum: 100,
      description: "The percentage of calls that go to the other version.",
      examples: [10],
    }),
    sticky_header: Nullable(
      Type.String({
        pattern: HEADER_NAME,
        maxLength: HEADER_LENGTH,
        description:
          "Calls with the same value of this request header go to the same version; null draws for each call.",
        examples: ["x-user-id"],
      }),
    ),
  },
  {
    additionalProperties: false,
    description: "Another version that gets part of the calls; null sends all calls to one version.",
  },
);
export type Split = Static<typeof Split>;

/** The events that a route makes of requests for functions of the contract `lambda`. */
const EVENTS = ["http", "raw"] as const;

/** The schemas of a route's options, which all have defaults. */
export const ROUTE_OPTIONS = {
  methods: Type.Array(Enum(METHODS), {
    minItems: 1,
    maxItems: METHODS.length,
    uniqueItems: true,
    description:
      "The methods that call the function. `HEAD` goes with `GET`. `POST` alone by default, and all of them if the function's contract is `http` or `lambda`.",
    examples: [["POST"]],
  }),
  auth: Enum(["public", "key"], {
    description: "`public`: anyone may call. `key`: a call needs an API key with the scope `invoke`.",
    examples: ["public"],
  }),
  cors: Nullable(Cors),
  rate_limit: Nullable(RateLimit),
  max_request_bytes: Nullable(
    Type.Integer({
      minimum: 0,
      maximum: ROUTE_REQUEST_BYTES,
      description:
        "The largest request body, in bytes, within the server's MAX_REQUEST_BYTES; null for that limit only.",
      examples: [null],
    }),
  ),
  async: Flag(
    "Whether a caller may ask for an asynchronous call with `Prefer: respond-async`; its request is kept until it has " +
      "run, and its result as long as the record. By default only on a route with `auth: key`. Elsewhere the " +
      "preference is ignored: the caller waits for the answer.",
  ),
  version: Nullable(
    Type.Integer({
      minimum: 1,
      description: "The version of the function that is called; null for the current one.",
      examples: [null],
    }),
  ),
  split: Nullable(Split),
  event: Enum(EVENTS, {
    description:
      "The form of the event for functions of the contract `lambda`; it has nothing to do with the contract `http`. " +
      "`http`: the event is the request, as a function URL of AWS Lambda describes it (payload " +
      "format 2.0), and what the function returns describes the answer. `raw`: the body is the event, and what it returns is the answer's body.",
    examples: ["http"],
  }),
  hosts: Hosts,
} as const;

/** A route's options. */
const RouteOptions = Type.Object(ROUTE_OPTIONS);
export type RouteOptions = Static<typeof RouteOptions>;

/** The options as they are sent: all may be left out, and so may fields of `cors` and `rate_limit` with a default. */
export const GIVEN_ROUTE_OPTIONS = {
  ...Type.Partial(RouteOptions).properties,
  cors: Type.Optional(Nullable(GivenCors)),
  rate_limit: Type.Optional(Nullable(GivenRateLimit)),
};
const GivenRouteOptions = Type.Object(GIVEN_ROUTE_OPTIONS);
export type GivenRouteOptions = Static<typeof GivenRouteOptions>;

/** The defaults of a public route to a function that is no server; see `completeOptions` for others. */
export const ROUTE_DEFAULTS: RouteOptions = {
  methods: ["POST"],
  auth: "public",
  cors: null,
  rate_limit: null,
  max_request_bytes: null,
  async: false,
  version: null,
  split: null,
  event: "http",
  hosts: [],
};

/**
 * Returns the options of a new route to a function of this contract: callers that are known by their keys may call it
 * asynchronously, strangers may not; and a server knows by itself which methods it has.
 */
export function completeOptions(given: GivenRouteOptions, contract: ContractName): RouteOptions {
  return { ...defaultsFor(given.auth ?? ROUTE_DEFAULTS.auth, contract), ...fullOptions(given) };
}

/** Returns the defaults of a route with this `auth` to a function of this contract. */
export function defaultsFor(auth: RouteOptions["auth"], contract: ContractName): RouteOptions {
  const methods = isBooted(contract) ? [...METHODS] : ROUTE_DEFAULTS.methods;
  return { ...ROUTE_DEFAULTS, methods, auth, async: auth === "key" };
}

/** Returns the options of a route after a change. One that becomes public takes no asynchronous calls unless the change says so. */
export function changedOptions(before: RouteOptions, given: GivenRouteOptions): Partial<RouteOptions> {
  const opened = before.auth !== "public" && given.auth === "public";
  return { ...(opened && { async: false }), ...fullOptions(given) };
}

/** Fills in the defaults within the given options. */
export function fullOptions({ cors, rate_limit, ...rest }: GivenRouteOptions): Partial<RouteOptions> {
  return {
    ...rest,
    ...(cors !== undefined && { cors: cors && fullCors(cors) }),
    ...(rate_limit !== undefined && { rate_limit: rate_limit && fullRateLimit(rate_limit) }),
  };
}

function fullRateLimit({ requests, window_ms, by = "address" }: GivenRateLimit): RateLimit {
  return { requests, window_ms, by };
}

/** Throws `invalid_request` for options that are valid by themselves but make no sense together. */
export function checkRouteOptions({ cors, rate_limit, auth }: RouteOptions): void {
  if (cors !== null) checkCors(cors);
  if (rate_limit?.by === "key" && auth !== "key") {
    throw new AppError(
      "invalid_request",
      'Invalid "rate_limit/by" "key": a public route checks no keys: set "auth" to "key" too, or limit by "address"',
    );
  }
}
