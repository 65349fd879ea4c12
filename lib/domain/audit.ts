import { Type, type Static } from "@sinclair/typebox";
import { AppError } from "./errors.ts";
import { PAGE } from "./limits.ts";
import { quoted } from "./quoted.ts";
import { Enum, Nullable, Timestamp } from "./types.ts";

/** The recorded kinds: requests that change something, and keys that are refused. */
export const AUDIT_EVENTS = ["change", "refused_key"] as const;

/** One request that changed something, or tried to, or whose key was refused. */
export const AuditEntry = Type.Object({
  id: Type.Integer({ description: "Later entries have higher numbers.", examples: [17] }),
  at: Timestamp,
  event: Enum(AUDIT_EVENTS, {
    description:
      "`change`: a request of the API that is more than reading or calling, whatever came of it. `refused_key`: its key was " +
      "wrong, revoked or expired, or may not do this.",
    examples: ["change"],
  }),
  key_id: Nullable(
    Type.String({
      description: "The id of its key, `server` for the server's own; null if it had none, or an unknown one.",
      examples: ["c3a1f0de-5b5c-4f0e-8f43-2d1f6f0b7a90"],
    }),
  ),
  address: Nullable(
    Type.String({ description: "Where it came from; null if the connection was gone.", examples: ["192.0.2.17"] }),
  ),
  method: Type.String({ description: "Its method.", examples: ["PUT"] }),
  path: Type.String({
    description: "Its path without the query; below `/r` only the first part, since others may be secret.",
    examples: ["/v1/secrets/DATABASE_URL"],
  }),
  status: Type.Integer({ description: "The status of its answer.", examples: [200] }),
});
export type AuditEntry = Static<typeof AuditEntry>;

/** The answer of `GET /v1/audit`. */
export const AuditPage = Type.Object({
  entries: Type.Array(AuditEntry, { description: "The newest first." }),
  next_cursor: Nullable(
    Type.String({ description: "`cursor` of the next page; null on the last one.", examples: [null] }),
  ),
});
export type AuditPage = Static<typeof AuditPage>;

/** Which entries to list, the newest first. */
export interface AuditQuery {
  readonly event: AuditEntry["event"] | null;
  readonly key_id: string | null;
  /** Only entries with a lower id. */
  readonly before: number;
  readonly limit: number;
}

/** The query of `GET /v1/audit` as it was sent. */
export interface RawAuditQuery {
  readonly event?: AuditEntry["event"];
  readonly key_id?: string;
  readonly cursor?: string;
  readonly limit?: string;
}

/** Reads a query. Throws `invalid_request`. */
export function parseAuditQuery({ event, key_id, cursor, limit }: RawAuditQuery): AuditQuery {
  return {
    event: event ?? null,
    key_id: key_id ?? null,
    before: cursor === undefined ? Number.MAX_SAFE_INTEGER : readNumber("cursor", cursor, Number.MAX_SAFE_INTEGER),
    limit: limit === undefined ? PAGE.default : readNumber("limit", limit, PAGE.max),
  };
}

function readNumber(name: "cursor" | "limit", text: string, max: number): number {
  const number = /^\d{1,16}$/.test(text) ? Number(text) : 0;
  if (number >= 1 && number <= max) return number;
  const instead =
    name === "limit"
      ? `give a whole number from 1 to ${max}`
      : 'send "next_cursor" of the page before, or leave it out';
  throw new AppError("invalid_request", `Invalid "${name}" ${quoted(text, 40)}: ${instead}`);
}

/** The most characters of a path that are recorded. */
const PATH_LENGTH = 512;

/** Returns the part of a request's path that is recorded. */
export function auditedPath(path: string): string {
  const [called] = /^\/r\/[^/]*/.exec(path) ?? [];
  const shown = called === undefined || called === path ? path : `${called}/…`;
  return shown.length > PATH_LENGTH ? `${shown.slice(0, PATH_LENGTH)}…` : shown;
}
