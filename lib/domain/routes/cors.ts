import { Type, type Static } from "@sinclair/typebox";
import { AppError } from "../errors.ts";
import { HEADER_NAME } from "../calls/headers.ts";
import { CORS_ENTRIES, HEADER_LENGTH } from "../limits.ts";
import { Flag } from "../types.ts";

const header = Type.String({ pattern: HEADER_NAME, maxLength: HEADER_LENGTH });

const fields = {
  origins: Type.Array(Type.String({ maxLength: HEADER_LENGTH }), {
    minItems: 1,
    maxItems: CORS_ENTRIES,
    uniqueItems: true,
    description: "Origins such as `https://example.com`, or only `*` for all.",
    examples: [["https://example.com"]],
  }),
  headers: Type.Array(header, {
    maxItems: CORS_ENTRIES,
    description:
      "Request headers that such a page may send besides those that any page may; `*` for all except Authorization.",
    examples: [["content-type"]],
  }),
  exposed_headers: Type.Array(header, {
    maxItems: CORS_ENTRIES,
    description: "Response headers that such a page may read besides those that any page may; `*` for all.",
    examples: [["x-request-id"]],
  }),
  credentials: Flag("Whether such a page may send cookies and read the responses; not with `*`."),
  max_age_s: Type.Integer({
    minimum: 0,
    maximum: 86_400,
    description: "How long a browser may cache these rules, in seconds.",
    examples: [600],
  }),
};
const text = {
  additionalProperties: false,
  description: "Which pages of other origins may read the responses; null leaves that to the function.",
};

/** The pages of other origins that may read a route's responses. */
export const Cors = Type.Object(fields, text);
export type Cors = Static<typeof Cors>;

/** `Cors` as it is sent: everything except the origins may be left out. */
export const GivenCors = Type.Object(
  { ...Type.Partial(Cors).properties, origins: fields.origins },
  { ...text, description: `${text.description} All fields except \`origins\` have defaults.` },
);
type GivenCors = Static<typeof GivenCors>;

const DEFAULTS: Omit<Cors, "origins"> = {
  headers: ["content-type"],
  exposed_headers: [],
  credentials: false,
  max_age_s: 600,
};

/** Fills in the defaults. */
export function fullCors({ origins, ...given }: GivenCors): Cors {
  return { origins, ...DEFAULTS, ...given };
}

/** Returns the `Access-Control-Allow-Origin` for a page of this origin; null if it may not read the responses. */
export function allowedOrigin({ origins }: Pick<Cors, "origins">, origin: string | null): string | null {
  if (origins.includes("*")) return "*";
  // Compared byte by byte, as browsers do.
  return origin !== null && origins.includes(origin) ? origin : null;
}

/** Throws `invalid_request` for rules that browsers refuse or that make no sense. */
export function checkCors({ origins, headers, exposed_headers, credentials }: Cors): void {
  for (const [index, origin] of origins.entries()) {
    const problem = originProblem(origin);
    if (problem === undefined) continue;
    throw new AppError("invalid_request", `Invalid "cors/origins/${index}" ${JSON.stringify(origin)}: ${problem}`);
  }
  if (origins.includes("*") && origins.length > 1) {
    throw new AppError("invalid_request", 'Invalid "cors/origins": "*" includes all others: leave them out, or "*"');
  }
  const open = Object.entries({ origins, headers, exposed_headers }).find(([, values]) => values.includes("*"));
  if (!credentials || open === undefined) return;
  throw new AppError(
    "invalid_request",
    `Invalid "cors/credentials" true: browsers refuse it with "*" in "cors/${open[0]}": name the ${open[0].replace("_", " ")}`,
  );
}

/** Returns why no browser sends this as the `Origin` of a trustworthy page, or undefined. */
function originProblem(origin: string): string | undefined {
  if (origin === "*") return undefined;
  if (origin === "null") return "any page can have that origin: name the page's own";
  if (origin.includes("*")) return '"*" is not a pattern: name every origin';
  const form = 'give scheme, host and port such as "https://example.com" or "http://localhost:3000"';
  const url = URL.parse(origin);
  if (url === null || url.host === "") return form;
  // For the scheme of an application or an extension the parser finds no origin, but browsers do.
  const canonical = url.origin === "null" ? `${url.protocol}//${url.host}` : url.origin;
  return canonical === origin ? undefined : `an origin is only scheme, host and port: did you mean "${canonical}"?`;
}
