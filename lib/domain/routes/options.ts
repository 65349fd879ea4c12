import { Type, type Static } from "@sinclair/typebox";
import { checkCors, Cors, fullCors, GivenCors } from "./cors.ts";
import { AppError } from "../errors.ts";
import { HEADER_NAME } from "../calls/headers.ts";
import { HEADER_LENGTH, RATE, ROUTE_REQUEST_BYTES } from "../limits.ts";
import { Nullable } from "../types.ts";

/** Methods that a route can have. */
export const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] as const;
export type Method = (typeof METHODS)[number];

const rateFields = {
  requests: Type.Integer({
    minimum: 1,
    maximum: RATE.requests,
    description: "Requests that a caller may make in one window, all at once if it likes.",
    examples: [60],
  }),
  window_ms: Type.Integer({
    minimum: 1_000,
    maximum: RATE.window_ms,
    description: "The time in which a spent bucket is full again, in milliseconds.",
    examples: [60_000],
  }),
  by: Type.Unsafe<"address" | "key">(
    Type.Union([Type.Literal("address"), Type.Literal("key")], {
      description:
        "What a caller is told apart by: the address that its connection comes from (an IPv6 network of 64 bits is one), " +
        "or, on a route with `auth: key`, its API key.",
      examples: ["address"],
    }),
  ),
};
const rateText = { additionalProperties: false, description: "A token bucket for each caller. Null sets no limit." };

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
      description: "The other version, which gets a part of the calls.",
      examples: [2],
    }),
    percent: Type.Integer({
      minimum: 0,
      maximum: 100,
      description: "How many of a hundred calls go to the other version.",
      examples: [10],
    }),
    sticky_header: Nullable(
      Type.String({
        ...{ pattern: HEADER_NAME, maxLength: HEADER_LENGTH },
        description: "Calls with the same value of this request header go to the same version. Null draws each anew.",
        examples: ["x-user-id"],
      }),
    ),
  },
  { additionalProperties: false, description: "Another version that gets a part of the calls. Null sends all to one." },
);
export type Split = Static<typeof Split>;

/** The schemas of what a route does beyond leading to a function; all have a default. */
export const ROUTE_OPTIONS = {
  methods: Type.Array(Type.Unsafe<Method>(Type.Union(METHODS.map((method) => Type.Literal(method)))), {
    minItems: 1,
    maxItems: METHODS.length,
    uniqueItems: true,
    description: "The methods that call the function. `HEAD` goes with `GET`.",
    examples: [["POST"]],
  }),
  auth: Type.Unsafe<"public" | "key">(
    Type.Union([Type.Literal("public"), Type.Literal("key")], {
      description: "`key`: a call needs an API key with the scope `invoke`.",
      examples: ["public"],
    }),
  ),
  cors: Nullable(Cors),
  rate_limit: Nullable(RateLimit),
  max_request_bytes: Nullable(
    Type.Integer({
      minimum: 0,
      maximum: ROUTE_REQUEST_BYTES,
      description:
        "The most that a request body may have, in bytes; the server's MAX_REQUEST_BYTES holds as well. Null leaves it to that.",
      examples: [null],
    }),
  ),
  version: Nullable(
    Type.Integer({
      minimum: 1,
      description: "The version of the function that is called. Null follows the function.",
      examples: [null],
    }),
  ),
  split: Nullable(Split),
} as const;

/** What a route does beyond leading to a function. */
const RouteOptions = Type.Object(ROUTE_OPTIONS);
export type RouteOptions = Static<typeof RouteOptions>;

/** The same as it is given: all of it may be left out, and within CORS and a rate limit what has a default. */
export const GIVEN_ROUTE_OPTIONS = {
  ...Type.Partial(RouteOptions).properties,
  cors: Type.Optional(Nullable(GivenCors)),
  rate_limit: Type.Optional(Nullable(GivenRateLimit)),
};
const GivenRouteOptions = Type.Object(GIVEN_ROUTE_OPTIONS);
export type GivenRouteOptions = Static<typeof GivenRouteOptions>;

/** What every route has unless it was given. */
export const ROUTE_DEFAULTS: RouteOptions = {
  methods: ["POST"],
  auth: "public",
  cors: null,
  rate_limit: null,
  max_request_bytes: null,
  version: null,
  split: null,
};

/** The options that were given, with the defaults within them. */
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

/** Throws `invalid_request` for options that are well formed and cannot be meant. */
export function checkRouteOptions({ cors, rate_limit, auth }: RouteOptions): void {
  if (cors !== null) checkCors(cors);
  if (rate_limit?.by === "key" && auth !== "key") {
    throw new AppError(
      "invalid_request",
      'Invalid "rate_limit/by" "key": nobody\'s key is checked on a public route, set "auth" to "key" too, or limit by "address"',
    );
  }
}
