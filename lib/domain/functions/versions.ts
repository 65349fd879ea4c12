import { Type, type Static } from "@sinclair/typebox";
import { AppError } from "../errors.ts";
import { quoted } from "../quoted.ts";
import { SETTINGS } from "./settings.ts";
import { Function } from "./functions.ts";
import { PAGE } from "../limits.ts";
import { Nullable, Timestamp } from "../types.ts";

/** The parts of a version: the image, the environment and the settings. The name belongs to the function. */
const VERSIONED = {
  image: Function.properties.image,
  image_id: Function.properties.image_id,
  digest: Function.properties.digest,
  environment: Function.properties.environment,
  ...SETTINGS,
  contract_reason: Function.properties.contract_reason,
  port_reason: Function.properties.port_reason,
  extra_ports: Function.properties.extra_ports,
} as const;

// Object.keys forgets the type of the keys.
const FIELDS = Object.keys(VERSIONED) as readonly (keyof typeof VERSIONED)[];
/** A contract and a port are the same whatever chose them. */
const COMPARED = FIELDS.filter((field) => field !== "contract_reason" && field !== "port_reason");

/** A function as it was at a version. It never changes. */
export const FunctionVersion = Type.Object({
  function_id: Type.String({
    description: "The id of the function.",
    examples: ["0b9a4f2e-3f0c-4a52-9a57-6a3d5e2f8c11"],
  }),
  version: Type.Integer({
    minimum: 1,
    description: "The number of the version: the highest so far plus one.",
    examples: [2],
  }),
  current: Type.Boolean({
    description: "Whether this is the current version, which calls run unless they name another.",
    examples: [true],
  }),
  ...VERSIONED,
  created_at: Timestamp,
});
export type FunctionVersion = Static<typeof FunctionVersion>;

/** A page of versions, and the cursor of the next page if there is one. */
export const VersionPage = Type.Object({
  versions: Type.Array(FunctionVersion),
  next_cursor: Nullable(
    Type.String({ description: "Send this as `cursor` for the next page; null on the last page.", examples: ["12"] }),
  ),
});
export type VersionPage = Static<typeof VersionPage>;

/** The body of `POST /v1/functions/:id/rollback`. */
export const Rollback = Type.Object(
  {
    version: Type.Integer({
      minimum: 1,
      description: "The version whose image, environment and settings the function gets again.",
      examples: [1],
    }),
  },
  { additionalProperties: false },
);
export type Rollback = Static<typeof Rollback>;

/** Returns the part of a function that makes its version. */
export function versionedFields(fn: Function): Pick<Function, keyof typeof VERSIONED> {
  // Each field has its own value.
  return Object.fromEntries(FIELDS.map((field) => [field, fn[field]])) as Pick<Function, keyof typeof VERSIONED>;
}

/** Returns a version as the API shows it; `current` is the function's current number. */
export function shownVersion(record: Function, current: number): FunctionVersion {
  const { id, version } = record;
  return {
    function_id: id,
    version,
    current: version === current,
    ...versionedFields(record),
    created_at: record.updated_at,
  };
}

/**
 * Returns a changed function with its number, which is the next one if the version differs. If only the image was unknown
 * before (in older databases), it completes the present version.
 */
export function numbered(before: Function, after: Function): Function {
  const known = before.image_id !== null;
  const same = COMPARED.every(
    (field) =>
      before[field] === after[field] ||
      (!known && (field === "image_id" || field === "digest")) ||
      Bun.deepEquals(before[field], after[field]),
  );
  return { ...after, version: same ? before.version : before.version + 1 };
}

/** The query of `GET /v1/functions/:id/versions` as sent. */
export interface RawVersionQuery {
  readonly cursor?: string;
  readonly limit?: string;
}

/** Selects versions, newest first: those below a number. */
export interface VersionQuery {
  readonly below: number;
  readonly limit: number;
}

/** Reads a query. Throws `invalid_request`. */
export function parseVersionQuery({ cursor, limit }: RawVersionQuery): VersionQuery {
  return {
    below: cursor === undefined ? Number.MAX_SAFE_INTEGER : readNumber("cursor", cursor, Number.MAX_SAFE_INTEGER),
    limit: limit === undefined ? PAGE.default : readNumber("limit", limit, PAGE.max),
  };
}

function readNumber(name: string, text: string, max: number): number {
  const number = /^\d{1,15}$/.test(text) ? Number(text) : 0;
  if (number >= 1 && number <= max) return number;
  const what = name === "cursor" ? 'the "next_cursor" of the page before' : `a whole number from 1 to ${max}`;
  throw new AppError("invalid_request", `Invalid "${name}" ${quoted(text)}: give ${what}`);
}
