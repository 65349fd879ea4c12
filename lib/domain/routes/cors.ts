import { Type, type Static } from "@sinclair/typebox";
import { AppError } from "../errors.ts";
import { HEADER_NAME } from "../calls/headers.ts";
import { CORS_ENTRIES, HEADER_LENGTH } from "../limits.ts";

const header = Type.String({ pattern: HEADER_NAME, maxLength: HEADER_LENGTH });

const fields = {
  origins: Type.Array(Type.String({ maxLength: HEADER_LENGTH }), {
    minItems: 1,
    maxItems: CORS_ENTRIES,
    uniqueItems: true,
    description: "Origins such as `https://example.com`, or `*` alone for all.",
    examples: [["https://example.com"]],
  }),
  headers: Type.Array(header, {
    maxItems: CORS_ENTRIES,
    description:
      "Request headers that such a page may send, beside those that every page may; `*` for all but Authorization.",
    examples: [["content-type"]],
  }),
  exposed_headers: Type.Array(header, {
    maxItems: CORS_ENTRIES,
    description: "Headers of the answer that it may read, beside those that every page may; `*` for all.",
    examples: [["x-request-id"]],
  }),
  credentials: Type.Boolean({
    description: "Whether cookies are sent along, and answers to such requests may be read; not with `*`.",
    examples: [false],
  }),
  max_age_s: Type.Integer({
    minimum: 0,
    maximum: 86_400,
    description: "How long a browser may remember this, in seconds.",
    examples: [600],
  }),
};
const text = {
  additionalProperties: false,
  description: "Who may read the answers from a page of another origin. Null leaves that to the function.",
};

/** Who may read a route's answers from another origin's page. */
export const Cors = Type.Object(fields, text);
export type Cors = Static<typeof Cors>;

/** The same as it is given: all but the origins may be left out. */
export const GivenCors = Type.Object(
  { ...Type.Partial(Cors).properties, origins: fields.origins },
  { ...text, description: `${text.description} All but \`origins\` have defaults.` },
);
type GivenCors = Static<typeof GivenCors>;

const DEFAULTS: Omit<Cors, "origins"> = {
  headers: ["content-type"],
  exposed_headers: [],
  credentials: false,
  max_age_s: 600,
};

/** What was given, with the defaults. */
export function fullCors({ origins, ...given }: GivenCors): Cors {
  return { origins, ...DEFAULTS, ...given };
}

/** The `Access-Control-Allow-Origin` for a page of this origin; null where it may not read the answers. */
export function allowedOrigin({ origins }: Pick<Cors, "origins">, origin: string | null): string | null {
  if (origins.includes("*")) return "*";
  // Byte by byte, as browsers compare it.
  return origin !== null && origins.includes(origin) ? origin : null;
}

/** Throws `invalid_request` for what no browser would take, or nobody can mean. */
export function checkCors({ origins, headers, exposed_headers, credentials }: Cors): void {
  for (const [index, origin] of origins.entries()) {
    const problem = originProblem(origin);
    if (problem === undefined) continue;
    throw new AppError("invalid_request", `Invalid "cors/origins/${index}" ${JSON.stringify(origin)}: ${problem}`);
  }
  if (origins.includes("*") && origins.length > 1) {
    throw new AppError("invalid_request", 'Invalid "cors/origins": "*" is all of them, leave the others out, or "*"');
  }
  const open = Object.entries({ origins, headers, exposed_headers }).find(([, values]) => values.includes("*"));
  if (!credentials || open === undefined) return;
  throw new AppError(
    "invalid_request",
    `Invalid "cors/credentials" true: browsers refuse it with "*" in "cors/${open[0]}", name the ${open[0].replace("_", " ")}`,
  );
}

/** Why no browser would ever send this as the `Origin` of a page that can be trusted, or nothing. */
function originProblem(origin: string): string | undefined {
  if (origin === "*") return undefined;
  if (origin === "null") return "any page can have that origin, name the page's own";
  if (origin.includes("*")) return '"*" stands alone or not at all, name every origin';
  const form = 'give scheme, host and port such as "https://example.com" or "http://localhost:3000"';
  const url = URL.parse(origin);
  if (url === null || url.host === "") return form;
  // An application's or an extension's scheme has no origin for the parser, but one for the browser.
  const canonical = url.origin === "null" ? `${url.protocol}//${url.host}` : url.origin;
  return canonical === origin ? undefined : `an origin is scheme, host and port alone, did you mean "${canonical}"?`;
}
