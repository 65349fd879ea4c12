import { AppError, messageOf } from "../../domain/errors.ts";
import { DOCKER_HUB, type RegistryCredentials } from "../../domain/images/registries.ts";
import { type EngineConnection, EngineError } from "./connection.ts";

/** The engine itself gives a registry 30 s to answer a connection, and tries plain HTTP after that on some hosts. */
const CHECK_TIMEOUT_MS = 90_000;

/** The name of Docker Hub for a login; older engines know no other. */
const HUB_ADDRESS = "https://index.docker.io/v1/";

/** The words of engines for a registry that refuses these credentials, or requires some. */
export const DENIED =
  /unauthorized|denied|no basic auth credentials|authentication required|incorrect username or password|forbidden/i;

/** Paths of the engine's host, which callers must not see; podman and full disks name them. */
const HOST_PATH = /(?<![\w.:@-])"?\/(?:var|run|tmp|home|root|mnt|srv|opt|usr|etc)\/[^\s":]*"?/g;

/** Returns the header with the credentials for a pull. Padded: the engine ignores unpadded base64url. */
export function registryAuthHeaders(credentials: RegistryCredentials | undefined): Record<string, string> {
  if (credentials === undefined) return {};
  return { "X-Registry-Auth": base64Url(JSON.stringify(authConfig(credentials))) };
}

/** Returns the header with the credentials that a build may use for the images that it is based on. */
export function registryConfigHeaders(all: readonly RegistryCredentials[]): Record<string, string> {
  if (all.length === 0) return {};
  const entries = all.map((one) => [one.host === DOCKER_HUB ? HUB_ADDRESS : one.host, authConfig(one)]);
  return { "X-Registry-Config": base64Url(JSON.stringify(Object.fromEntries(entries))) };
}

/** Throws `registry_denied` if a registry does not accept credentials, `registry_unavailable` if it cannot be asked. */
export async function checkCredentials(connection: EngineConnection, credentials: RegistryCredentials): Promise<void> {
  try {
    await connection.request({
      operation: "registry login",
      method: "POST",
      path: "/auth",
      body: authConfig(credentials),
      timeout_ms: CHECK_TIMEOUT_MS,
    });
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    throw loginError(credentials, error);
  }
}

/** The most characters that are shown of what an engine or a registry said. */
const SHOWN_WORDS = 2_000;

/**
 * Returns the words of the engine or a registry so that they can be shown: without paths of the engine's host. The paths
 * in `own` lie inside a container, and stay.
 */
export function shownWords(error: unknown, own: readonly string[] = []): string {
  const shown = messageOf(error).replaceAll(HOST_PATH, (path) =>
    own.includes(path.replaceAll('"', "")) ? path : "a file of the engine",
  );
  return shown.length > SHOWN_WORDS ? `${shown.slice(0, SHOWN_WORDS)}...` : shown;
}

/** Returns a text without the secret in any of its forms. */
export function masked(text: string, credentials: RegistryCredentials): string {
  return formsOf(credentials).reduce((shown, form) => shown.replaceAll(form, "***"), text);
}

/** Returns the same error without the secret in any of its forms: a registry's answer may repeat what it got. */
export function withoutSecret<E>(error: E, credentials: RegistryCredentials | undefined): E | EngineError | Error {
  if (credentials === undefined || !(error instanceof Error)) return error;
  const message = masked(error.message, credentials);
  if (message === error.message && error.cause === undefined) return error;
  return error instanceof EngineError
    ? new EngineError(error.operation, error.status, message)
    : new Error(message, { cause: withoutSecret(error.cause, credentials) });
}

function authConfig({ host, username, kind, secret }: RegistryCredentials): object {
  return {
    ...(username !== null && { username }),
    ...(kind === "password" ? { password: secret } : { identitytoken: secret }),
    serveraddress: host === DOCKER_HUB ? HUB_ADDRESS : host,
  };
}

function formsOf(credentials: RegistryCredentials): string[] {
  const { username, secret } = credentials;
  const basic = Buffer.from(`${username ?? ""}:${secret}`).toString("base64");
  const header = base64Url(JSON.stringify(authConfig(credentials)));
  const forms = [header, basic, secret, encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1)];
  // Longest first: if a shorter form inside it were replaced first, the rest would still reveal something.
  return [...new Set(forms)].toSorted((a, b) => b.length - a.length);
}

function base64Url(text: string): string {
  return Buffer.from(text).toString("base64").replaceAll("+", "-").replaceAll("/", "_");
}

function loginError(credentials: RegistryCredentials, error: EngineError): AppError {
  const { host, username, kind } = credentials;
  const cause = withoutSecret(error, credentials);
  const said = shownWords(cause);
  const head = `Cannot log in to the registry "${host}"`;
  // Engines before 23 always answer 500, with the registry's status in the message.
  const refused = [401, 403].includes(error.status) || /\b40[13]\b/.test(error.message);
  if (refused || DENIED.test(error.message)) {
    const who = kind === "password" ? `the username "${username}" with this password` : "this identity token";
    const text = `${head}: it refused ${who} (${said}). Nothing was stored. Check what you sent.`;
    return new AppError("registry_denied", text, { cause });
  }
  return new AppError(
    "registry_unavailable",
    `${head}: ${said}. Nothing was stored. Check the host, and that the engine can reach it; ` +
      "?check=false stores the credentials all the same.",
    { cause, retry_after_s: 10 },
  );
}
