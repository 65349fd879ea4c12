import { Type, type Static } from "@sinclair/typebox";
import { AppError } from "../errors.ts";
import { SETTINGS } from "./settings.ts";
import { Function } from "./functions.ts";
import { PAGE } from "../limits.ts";
import { Nullable, Timestamp } from "../types.ts";

/** What makes a version: a function's image, its environment and its settings; not its name, which it keeps for life. */
const VERSIONED = {
  image: Function.properties.image,
  image_id: Function.properties.image_id,
  digest: Function.properties.digest,
  environment: Function.properties.environment,
  ...SETTINGS,
} as const;

// Object.keys forgets the type of the keys.
const FIELDS = Object.keys(VERSIONED) as readonly (keyof typeof VERSIONED)[];

/** A function as it once was. It is never changed. */
export const FunctionVersion = Type.Object({
  function_id: Type.String({
    description: "The id of the function.",
    examples: ["0b9a4f2e-3f0c-4a52-9a57-6a3d5e2f8c11"],
  }),
  version: Type.Integer({
    minimum: 1,
    description: "Its number: the next one is the highest plus one.",
    examples: [2],
  }),
  current: Type.Boolean({
    description: "Whether it is what the function is now, and calls run that name no version.",
    examples: [true],
  }),
  ...VERSIONED,
  created_at: Timestamp,
});
export type FunctionVersion = Static<typeof FunctionVersion>;

/** A page of versions, and the cursor of the next one where there is one. */
export const VersionPage = Type.Object({
  versions: Type.Array(FunctionVersion),
  next_cursor: Nullable(
    Type.String({ description: "Send it as `cursor` for the next page; null on the last one.", examples: ["12"] }),
  ),
});
export type VersionPage = Static<typeof VersionPage>;

/** The body of `POST /v1/functions/:id/rollback`. */
export const Rollback = Type.Object(
  {
    version: Type.Integer({
      minimum: 1,
      description: "The version whose image, environment and settings the function is to have again.",
      examples: [1],
    }),
  },
  { additionalProperties: false },
);
export type Rollback = Static<typeof Rollback>;

/** The part of a function that versions are made of. */
export function versionedFields(fn: Function): Pick<Function, keyof typeof VERSIONED> {
  // Each field with its own value.
  return Object.fromEntries(FIELDS.map((field) => [field, fn[field]])) as Pick<Function, keyof typeof VERSIONED>;
}

/** A version as it is shown; `current` is the function's number now. */
export function shownVersion(record: Function, current: number): FunctionVersion {
  const { id, version } = record;
  return {
    ...{ function_id: id, version, current: version === current },
    ...versionedFields(record),
    created_at: record.updated_at,
  };
}

/**
 * A changed function with its number: the next one where it is another version. An image that was not known before (in
 * functions of older databases) completes the version that it belongs to.
 */
export function numbered(before: Function, after: Function): Function {
  const known = before.image_id !== null;
  const same = FIELDS.every(
    (field) => (!known && (field === "image_id" || field === "digest")) || Bun.deepEquals(before[field], after[field]),
  );
  return { ...after, version: same ? before.version : before.version + 1 };
}

/** The query of `GET /v1/functions/:id/versions` as it was sent. */
export interface RawVersionQuery {
  readonly cursor?: string;
  readonly limit?: string;
}

/** Which versions to list, newest first: those below a number. */
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
  throw new AppError("invalid_request", `Invalid "${name}" ${JSON.stringify(text.slice(0, 40))}: give ${what}`);
}
