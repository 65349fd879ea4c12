import { Type, type Static } from "@sinclair/typebox";
import { AppError } from "../errors.ts";
import { parseImageReference } from "./reference.ts";
import { REGISTRY_PASSWORD_LENGTH, REGISTRY_USERNAME_LENGTH } from "../limits.ts";
import { Nullable, Timestamp } from "../types.ts";

/** What is told of a registry's credentials: never the password or the token. */
export const Registry = Type.Object({
  host: Type.String({
    description: "The registry, as image references name it: host and port. Docker Hub is `docker.io`.",
    examples: ["registry.example.com:5000"],
  }),
  kind: Type.Unsafe<"password" | "identity_token">(
    Type.Union([Type.Literal("password"), Type.Literal("identity_token")], {
      description: "What is kept: a password (or an access token in its place), or an identity token.",
      examples: ["password"],
    }),
  ),
  username: Nullable(
    Type.String({ description: "Null where an identity token came without one.", examples: ["deploy-bot"] }),
  ),
  checked_at: Nullable(
    Type.String({
      description: "When the registry accepted these very credentials. Null where they were stored unchecked.",
      examples: ["2026-01-31T12:00:00.000Z"],
    }),
  ),
  created_at: Timestamp,
  updated_at: Timestamp,
});
export type Registry = Static<typeof Registry>;

/** The body of `PUT /v1/registries/:host`. */
export const PutRegistry = Type.Object(
  {
    username: Type.Optional(
      Type.String({
        // No control characters, and no colon: HTTP's basic authentication could not carry them.
        pattern: "^[^\\u0000-\\u001f\\u007f:]+$",
        maxLength: REGISTRY_USERNAME_LENGTH,
        description: "Goes with `password`.",
        examples: ["deploy-bot"],
      }),
    ),
    password: Type.Optional(
      Type.String({
        // Nothing that is marked so is shown in a message or a log, not even where it is wrong.
        writeOnly: true,
        minLength: 1,
        maxLength: REGISTRY_PASSWORD_LENGTH,
        description: "The password, or an access token in its place; never shown again.",
        examples: ["correct horse battery staple"],
      }),
    ),
    identity_token: Type.Optional(
      Type.String({
        writeOnly: true,
        minLength: 1,
        maxLength: REGISTRY_PASSWORD_LENGTH,
        description: "In place of a password: what some registries hand out at `docker login`; never shown again.",
      }),
    ),
  },
  { additionalProperties: false, examples: [{ username: "deploy-bot", password: "correct horse battery staple" }] },
);
export type PutRegistry = Static<typeof PutRegistry>;

/** What the engine is given to log in to a registry. */
export interface RegistryCredentials {
  readonly host: string;
  readonly username: string | null;
  readonly kind: Registry["kind"];
  /** The password or the token. */
  readonly secret: string;
}

/** The answer of `POST /v1/registries/import`. */
export const RegistryImport = Type.Object({
  imported: Type.Array(Registry, { description: "What is stored now." }),
  skipped: Type.Array(
    Type.Object({
      entry: Type.String({ description: "The entry of the file.", examples: ["https://gcr.io"] }),
      problem: Type.String({
        description: "Why it was left out, and what to do.",
        examples: ['its credentials are not in the file, but in the helper "gcloud": PUT /v1/registries/gcr.io'],
      }),
    }),
    { description: "Entries that were left out." },
  ),
});
export type RegistryImport = Static<typeof RegistryImport>;

/** What Docker Hub is called in image references. */
export const DOCKER_HUB = "docker.io";

/** Docker Hub's names: in image references, where it answers, and where `docker login` says that it logs in. */
const HUB_NAMES = new Set([DOCKER_HUB, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"]);

/**
 * The host of a registry as image references name it, of the many ways to write it: with a scheme and the path of its API
 * (`https://index.docker.io/v1/`), as configuration files have it, or without. Throws `invalid_request`.
 */
export function registryHost(text: string): string {
  const bare = text.replace(/^https?:\/\//i, "").replace(/(?:\/v[12])?\/?$/, "");
  const host = bare.toLowerCase();
  if (bare.includes("/")) {
    throw invalid(text, `credentials are for a whole registry: leave out what is behind the host`);
  }
  if (!leadsImages(host)) {
    throw invalid(text, 'it must be a host as in image references, such as "ghcr.io" or "registry.example.com:5000"');
  }
  return HUB_NAMES.has(host) ? DOCKER_HUB : host;
}

/** The host whose credentials the pull of an image needs, or nothing for a name that only the engine knows. */
export function registryOf(image: string): string | undefined {
  const host = parseImageReference(image).domain.toLowerCase();
  return host === "" ? undefined : HUB_NAMES.has(host) ? DOCKER_HUB : host;
}

/** What a body means; throws `invalid_request` unless it is one of the two. */
export function credentialsOf(host: string, body: PutRegistry): RegistryCredentials {
  const { username = null, password, identity_token: token } = body;
  if (password !== undefined && token !== undefined) {
    throw new AppError("invalid_request", 'Give either "password" or "identity_token", not both');
  }
  const secret = password ?? token;
  if (secret === undefined) {
    throw new AppError("invalid_request", 'Missing "password": give "username" and "password", or "identity_token"');
  }
  if (password !== undefined && username === null) {
    throw new AppError("invalid_request", 'Missing "username": a password needs the name that it belongs to');
  }
  if (!secret.isWellFormed()) {
    throw new AppError("invalid_request", "The password contains half of a surrogate pair, which is no text");
  }
  return { host, username, kind: password === undefined ? "identity_token" : "password", secret };
}

/** Whether there are image references that name this registry. */
function leadsImages(host: string): boolean {
  try {
    const { domain, path } = parseImageReference(`${host}/x`);
    return domain.toLowerCase() === (host === "index.docker.io" ? DOCKER_HUB : host) && path !== "";
  } catch {
    return false;
  }
}

function invalid(text: string, problem: string): AppError {
  // Who puts a password before the host shall not see it in a log.
  const clean = text.replace(/^.*@/s, "...@");
  const shown = clean.length > 100 ? `${clean.slice(0, 100)}...` : clean;
  return new AppError("invalid_request", `Invalid registry ${JSON.stringify(shown)}: ${problem}`);
}
