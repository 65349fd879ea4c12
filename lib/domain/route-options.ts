import { Type, type Static } from "@sinclair/typebox";
import { CORS_ENTRIES, HEADER_LENGTH, RATE, ROUTE_REQUEST_BYTES } from "./limits.ts";
import { Nullable } from "./types.ts";

/** Methods that a route can have. */
export const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] as const;
export type Method = (typeof METHODS)[number];

const header = Type.String({ pattern: "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", maxLength: HEADER_LENGTH });

/** Who may read a route's answers from another origin's page. */
export const Cors = Type.Object(
  {
    origins: Type.Array(Type.String({ maxLength: HEADER_LENGTH }), {
      minItems: 1,
      maxItems: CORS_ENTRIES,
      description: "Origins such as `https://example.com`, or `*`.",
      examples: [["https://example.com"]],
    }),
    headers: Type.Array(header, {
      maxItems: CORS_ENTRIES,
      description: "Request headers that such a page may send.",
      examples: [["content-type"]],
    }),
    exposed_headers: Type.Array(header, {
      maxItems: CORS_ENTRIES,
      description: "Headers of the answer that it may read.",
      examples: [["x-request-id"]],
    }),
    credentials: Type.Boolean({ description: "Whether cookies are sent; not with `*`.", examples: [false] }),
    max_age_s: Type.Integer({
      minimum: 0,
      maximum: 86_400,
      description: "How long a browser may remember this, in seconds.",
      examples: [600],
    }),
  },
  {
    additionalProperties: false,
    description: "Who may read the answers from a page of another origin. Null allows nobody.",
  },
);
export type Cors = Static<typeof Cors>;

/** A token bucket for each caller. */
export const RateLimit = Type.Object(
  {
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
        description: "What a caller is told apart by: its address, or its API key (its address where it sends none).",
        examples: ["address"],
      }),
    ),
  },
  { additionalProperties: false, description: "A token bucket for each caller. Null sets no limit." },
);
export type RateLimit = Static<typeof RateLimit>;

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
        ...{ pattern: header.pattern ?? "", maxLength: HEADER_LENGTH },
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
export const RouteOptions = Type.Object(ROUTE_OPTIONS);
export type RouteOptions = Static<typeof RouteOptions>;

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
