import { Type, type Static } from "@sinclair/typebox";
import { AppError } from "../errors.ts";
import { quoted } from "../quoted.ts";
import { BUILT_DOMAIN, parseImageReference } from "./reference.ts";
import { REGISTRY_PASSWORD_LENGTH, REGISTRY_USERNAME_LENGTH } from "../limits.ts";
import { Enum, Nullable, Timestamp } from "../types.ts";

/** The record of a registry's credentials, without the password or the token. */
export const Registry = Type.Object({
  host: Type.String({
    description: "The registry as in image references: host and port. Docker Hub is `docker.io`.",
    examples: ["registry.example.com:5000"],
  }),
  kind: Enum(["password", "identity_token"], {
    description: "The kind of credentials: a password (or an access token in its place), or an identity token.",
    examples: ["password"],
  }),
  username: Nullable(Type.String({ description: "Null for an identity token without one.", examples: ["deploy-bot"] })),
  checked_at: Nullable(
    Type.String({
      description: "When the registry accepted these credentials; null if they were stored unchecked.",
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
        // No control characters and no colon: HTTP basic authentication cannot transmit them.
        pattern: "^[^\\u0000-\\u001f\\u007f:]+$",
        maxLength: REGISTRY_USERNAME_LENGTH,
        description: "The user for `password`.",
        examples: ["deploy-bot"],
      }),
    ),
    password: Type.Optional(
      Type.String({
        // Keeps the value out of messages and logs, even if it is invalid.
        writeOnly: true,
        minLength: 1,
        maxLength: REGISTRY_PASSWORD_LENGTH,
        description: "The password, or an access token; never shown again.",
        examples: ["correct horse battery staple"],
      }),
    ),
    identity_token: Type.Optional(
      Type.String({
        writeOnly: true,
        minLength: 1,
        maxLength: REGISTRY_PASSWORD_LENGTH,
        description:
          "The token that some registries hand out at `docker login`, in place of a password; never shown again.",
      }),
    ),
  },
  { additionalProperties: false, examples: [{ username: "deploy-bot", password: "correct horse battery staple" }] },
);
export type PutRegistry = Static<typeof PutRegistry>;

/** The credentials that the engine uses to log in to a registry. */
export interface RegistryCredentials {
  readonly host: string;
  readonly username: string | null;
  readonly kind: Registry["kind"];
  /** The password or the token. */
  readonly secret: string;
}

/** The answer of `POST /v1/registries/import`. */
export const RegistryImport = Type.Object({
  imported: Type.Array(Registry, { description: "The credentials that were stored." }),
  skipped: Type.Array(
    Type.Object({
      entry: Type.String({ description: "The entry of the file.", examples: ["https://gcr.io"] }),
      problem: Type.String({
        description: "Why it was skipped, and what to do.",
        examples: ['its credentials are not in the file, but in the helper "gcloud": PUT /v1/registries/gcr.io'],
      }),
    }),
    { description: "The entries that were skipped." },
  ),
});
export type RegistryImport = Static<typeof RegistryImport>;

/** The name of Docker Hub in image references. */
export const DOCKER_HUB = "docker.io";

/** The names of Docker Hub: in image references, of its servers, and in the output of `docker login`. */
const HUB_NAMES = new Set([DOCKER_HUB, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"]);

/**
 * Returns the host of a registry as in image references, from any way to write it: with a scheme and the path of its API
 * (`https://index.docker.io/v1/`), as in configuration files, or without. Throws `invalid_request`.
 */
export function registryHost(text: string): string {
  const bare = text.replace(/^https?:\/\//i, "").replace(/(?:\/v[12])?\/?$/, "");
  const host = bare.toLowerCase();
  if (bare.includes("/")) {
    throw invalidRegistry(text, `credentials are for a whole registry: leave out everything after the host`);
  }
  if (!leadsImages(host)) {
    throw invalidRegistry(
      text,
      'it must be a host as in image references, such as "ghcr.io" or "registry.example.com:5000"',
    );
  }
  return HUB_NAMES.has(host) ? DOCKER_HUB : host;
}

/** Returns the host whose credentials a pull needs; undefined for a name that only the engine knows. */
export function registryOf(image: string): string | undefined {
  const host = parseImageReference(image).domain.toLowerCase();
  return host === "" || host === BUILT_DOMAIN ? undefined : HUB_NAMES.has(host) ? DOCKER_HUB : host;
}

/** Reads a body, which has either a password or a token; throws `invalid_request` otherwise. */
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
    throw new AppError("invalid_request", 'Missing "username": a password needs one');
  }
  if (!secret.isWellFormed()) {
    throw new AppError("invalid_request", "The password contains half of a surrogate pair, which is not text");
  }
  return { host, username, kind: password === undefined ? "identity_token" : "password", secret };
}

/** Returns whether image references can name this registry. */
function leadsImages(host: string): boolean {
  try {
    const { domain, path } = parseImageReference(`${host}/x`);
    return domain.toLowerCase() === (host === "index.docker.io" ? DOCKER_HUB : host) && path !== "";
  } catch {
    return false;
  }
}

function invalidRegistry(text: string, problem: string): AppError {
  // A password before the host must not get into a log.
  const clean = text.replace(/^.*@/s, "...@");
  return new AppError("invalid_request", `Invalid registry ${quoted(clean)}: ${problem}`);
}
