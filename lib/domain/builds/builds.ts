import { Type, type Static } from "@sinclair/typebox";
import { AppError } from "../errors.ts";
import { checkEnvironment } from "../environment.ts";
import { PAGE } from "../limits.ts";
import { parseLimit } from "../functions/pages.ts";
import { BUILT_DOMAIN } from "../images/reference.ts";
import { quoted } from "../quoted.ts";
import { Enum, Flag, Nullable, Timestamp } from "../types.ts";

/** The states of a build. */
export const BUILD_STATUSES = ["queued", "running", "succeeded", "failed", "cancelled"] as const;
export type BuildStatus = (typeof BUILD_STATUSES)[number];

/** The schema of a build's state. */
export const BuildState = Enum(BUILD_STATUSES, {
  description: "`queued` until it has its turn, `running`, then one of `succeeded`, `failed` and `cancelled`.",
  examples: ["succeeded"],
});

/** The reasons why a build fails. */
export const BUILD_REASONS = [
  /** A step ended with an error, or the Dockerfile is wrong. */
  "build_failed",
  "build_timeout",
  /** The context is not a tar archive, too large, or without a Dockerfile. */
  "context_invalid",
  "engine_unavailable",
  /** The server ended in the middle of the build. */
  "shutting_down",
  "internal",
] as const;
export type BuildReason = (typeof BUILD_REASONS)[number];

/** An instruction of a Dockerfile that a build runs. */
export const BuildStep = Type.Object({
  number: Type.Integer({ description: "From 1.", examples: [3] }),
  total: Type.Integer({ description: "How many there are.", examples: [5] }),
  instruction: Type.String({ description: "The instruction.", examples: ["RUN npm ci"] }),
});
export type BuildStep = Static<typeof BuildStep>;

/** The record of a build. */
export const Build = Type.Object({
  id: Type.String({ description: "A UUID made by the server.", examples: ["019ac2c1-7d3e-7000-9a53-2f6f8f1f3c55"] }),
  name: Type.String({ description: "The name of the image, given with the request.", examples: ["hello"] }),
  status: BuildState,
  image: Nullable(
    Type.String({
      description:
        "The image, for `POST /v1/functions`: a name that only this engine knows. Null unless the build has succeeded.",
      examples: [`${BUILT_DOMAIN}/hello:019ac2c17d3e`],
    }),
  ),
  image_id: Nullable(
    Type.String({
      description: "The engine's id of the image.",
      examples: ["sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
    }),
  ),
  step: Type.Union([BuildStep, Type.Null()], {
    description: "The step that runs or ran last: of a failed build, the one that failed. Null before the first.",
  }),
  reason: Nullable(
    Enum(BUILD_REASONS, {
      description: "The kind of error, for programs; null unless the build has failed.",
      examples: ["build_failed"],
    }),
  ),
  error: Nullable(
    Type.String({
      description: "What went wrong and what to do, for people; null unless the build has failed.",
      examples: [null],
    }),
  ),
  dockerfile: Type.String({ description: "The path of the Dockerfile in the context.", examples: ["Dockerfile"] }),
  target: Nullable(Type.String({ description: "The stage that was built; null for the last one.", examples: [null] })),
  no_cache: Flag("Every step was run, also those that an earlier build had run."),
  pull: Flag("The images that it is built on were pulled anew."),
  context_bytes: Type.Integer({ description: "The size of the context as it was sent.", examples: [1843] }),
  created_at: Timestamp,
  started_at: Nullable(Type.String({ description: "When it began to run.", examples: ["2026-01-31T12:00:01.000Z"] })),
  ended_at: Nullable(Type.String({ description: "When it ended.", examples: ["2026-01-31T12:00:09.000Z"] })),
});
export type Build = Static<typeof Build>;

/** The answer of `GET /v1/builds`. */
export const BuildPage = Type.Object({
  builds: Type.Array(Build, { description: "The newest first." }),
  next_cursor: Nullable(
    Type.String({ description: "`cursor` of the next page; null on the last one.", examples: [null] }),
  ),
});
export type BuildPage = Static<typeof BuildPage>;

/** The settings of a build, besides the context. */
export interface BuildRequest {
  readonly name: string;
  /** The path of the Dockerfile in the context. */
  readonly dockerfile: string;
  readonly target: string | null;
  readonly build_args: Readonly<Record<string, string>>;
  readonly no_cache: boolean;
  readonly pull: boolean;
}

/** The query of `POST /v1/builds` as it was sent. */
export interface RawBuildQuery {
  readonly name: string;
  readonly dockerfile?: string;
  readonly target?: string;
  readonly build_args?: string;
  readonly no_cache?: "true" | "false";
  readonly pull?: "true" | "false";
}

const NAME = /^[a-z0-9]+(?:-+[a-z0-9]+)*$/;
/** A path that stays in the context. The engine checks it, too. */
const PATH = /^(?!\/)(?!.*(?:^|\/)\.\.(?:\/|$))[^\0]{1,1024}$/;
const TARGET = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;

/** Reads the query of `POST /v1/builds`. Throws `invalid_request`. */
export function parseBuildRequest(query: RawBuildQuery): BuildRequest {
  const { name, dockerfile = "Dockerfile", target = null } = query;
  if (!NAME.test(name) || name.length > 63) {
    throw invalid("name", name, "give lower-case letters, digits and hyphens in between, at most 63");
  }
  if (!PATH.test(dockerfile)) throw invalid("dockerfile", dockerfile, "give the path of a file in the context");
  if (target !== null && !TARGET.test(target)) throw invalid("target", target, "give the name of a stage");
  return {
    name,
    dockerfile: dockerfile.replace(/^(?:\.\/)+/, ""),
    target,
    build_args: parseBuildArgs(query.build_args),
    no_cache: query.no_cache === "true",
    pull: query.pull === "true",
  };
}

function parseBuildArgs(text: string | undefined): Record<string, string> {
  if (text === undefined) return {};
  const value = parseObject(text);
  const entries = Object.entries(value ?? {});
  if (value === undefined || !entries.every((entry): entry is [string, string] => typeof entry[1] === "string")) {
    // The values may be secret.
    throw new AppError(
      "invalid_request",
      'Invalid "build_args": give a JSON object of texts, such as {"NODE_ENV": "production"}',
    );
  }
  const args = Object.fromEntries(entries);
  checkEnvironment(args);
  return args;
}

function parseObject(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return value !== null && typeof value === "object" && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function invalid(field: string, value: string, instead: string): AppError {
  return new AppError("invalid_request", `Invalid "${field}" ${quoted(value)}: ${instead}`);
}

/** Returns the name of the image of a build: the first half of the id is a time and a counter, and so is never twice the same. */
export function builtImageName(name: string, id: string): string {
  return `${BUILT_DOMAIN}/${name}:${id.replaceAll("-", "").slice(0, 16)}`;
}

/** Returns whether a build is over. */
export function hasEnded({ status }: Pick<Build, "status">): boolean {
  return status !== "queued" && status !== "running";
}

/** Which builds to list, the newest first. */
export interface BuildListQuery {
  readonly name: string | null;
  readonly status: BuildStatus | null;
  /** Only builds whose row has a lower number. */
  readonly before: number;
  readonly limit: number;
}

/** The query of `GET /v1/builds` as it was sent. */
export interface RawBuildListQuery {
  readonly name?: string;
  readonly status?: BuildStatus;
  readonly cursor?: string;
  readonly limit?: string;
}

/** Reads a query. Throws `invalid_request`. */
export function parseBuildListQuery({ name, status, cursor, limit }: RawBuildListQuery): BuildListQuery {
  return {
    name: name ?? null,
    status: status ?? null,
    before: cursor === undefined ? Number.MAX_SAFE_INTEGER : parseCursor(cursor),
    limit: limit === undefined ? PAGE.default : parseLimit(limit),
  };
}

function parseCursor(text: string): number {
  if (/^[1-9]\d{0,14}$/.test(text)) return Number(text);
  throw invalid("cursor", text, 'send "next_cursor" of the page before, or leave it out');
}
