import type { Clock } from "../../clock.ts";
import { AppError, messageOf } from "../../domain/errors.ts";
import { parseImageReference, pullTarget } from "../../domain/images/reference.ts";
import type { PullProgress } from "../../domain/images/pull-progress.ts";
import { registryOf, type RegistryCredentials } from "../../domain/images/registries.ts";
import { type EngineConnection, isEngineStatus } from "./connection.ts";
import { progressLines } from "../progress/progress-lines.ts";
import { PullTracker } from "./pull-tracker.ts";
import { DENIED, registryAuthHeaders, shownWords, withoutSecret } from "./registry-auth.ts";

/** The time after which a pull that sends nothing is given up, in milliseconds. */
const PULL_STALL_MS = 60_000;

/** Options of a pull. */
export interface PullOptions {
  /** The credentials for its registry, if there are any. */
  readonly credentials?: RegistryCredentials | undefined;
  /** Called at each line about a layer, with a function that returns how far the pull is. */
  readonly onProgress?: (progress: () => PullProgress) => void;
}

/**
 * Pulls an image, always with an explicit tag or digest: without one the engine pulls every tag.
 * Throws `image_not_found`, `registry_denied` or `image_unavailable` with the registry's own words.
 */
export async function pullImage(
  { connection, clock, timeout_ms }: { connection: EngineConnection; clock: Clock; timeout_ms: number },
  reference: string,
  { credentials, onProgress = () => undefined }: PullOptions,
): Promise<void> {
  const { from_image, tag } = pullTarget(parseImageReference(reference));
  try {
    const stream = await connection.stream({
      operation: "image pull",
      method: "POST",
      path: "/images/create",
      query: { fromImage: from_image, tag },
      headers: registryAuthHeaders(credentials),
      timeout_ms,
    });
    const tracker = new PullTracker();
    await followPull(stream, { clock, timeout_ms }, (line) => {
      if (tracker.add(line)) onProgress(() => tracker.progress);
    });
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw pullError(reference, error, credentials);
  }
}

/** Reads the progress to its end: most failures of a pull are reported there, after a 200. */
async function followPull(
  stream: AsyncIterable<Buffer> & { destroy(error?: Error): unknown },
  { clock, timeout_ms: timeoutMs }: { readonly clock: Clock; readonly timeout_ms: number },
  onLine: (line: unknown) => void,
): Promise<void> {
  const cancelTotal = clock.after(timeoutMs, () => stream.destroy(new Error(`it took more than ${timeoutMs} ms`)));
  let cancelStall: () => void = () => undefined;
  const watch = () => {
    cancelStall();
    const giveUp = () => stream.destroy(new Error(`nothing came for ${PULL_STALL_MS} ms`));
    cancelStall = clock.after(PULL_STALL_MS, giveUp);
  };
  try {
    watch();
    for await (const line of progressLines(stream, watch)) {
      if (line !== null && typeof line === "object" && "error" in line) throw new Error(String(line.error));
      onLine(line);
    }
  } finally {
    cancelTotal();
    cancelStall();
  }
}

const NOT_FOUND =
  /manifest unknown|manifest for .* not found|not found|does not exist|no such (?:image|manifest)|name unknown/i;

/** Engines say "not found" of other things too: of a host, or of a layer that the registry has lost. */
const OTHER_LOSS = /no such host|blob|content descriptor|content digest|failed to copy/i;

/** The registry has the image, but only for other machines. */
const OTHER_PLATFORM = /no match(?:ing manifest)? for \S+/i;

function pullError(reference: string, error: unknown, credentials: RegistryCredentials | undefined): AppError {
  // Judged by the original words: a password, which is masked below, may be one of them. So may be the image's own name.
  const words = withoutName(messageOf(error), reference);
  const cause = withoutSecret(error, credentials);
  const said = shownWords(cause);
  const head = `Cannot pull image "${reference}"`;
  if (isEngineStatus(error, 400)) return new AppError("invalid_request", `${head}: ${said}`, { cause });
  if (DENIED.test(words)) {
    return new AppError("registry_denied", `${head}: ${refusal(reference, said, credentials)}`, { cause });
  }
  if (NOT_FOUND.test(words) && !OTHER_LOSS.test(words) && !OTHER_PLATFORM.test(words)) {
    const text = `${head}: the registry has no such image (${said}). Check the name and the tag.`;
    return new AppError("image_not_found", text, { cause });
  }
  const hint = OTHER_PLATFORM.test(words)
    ? "Its registry has it for other machines only: build it for the engine's."
    : "Check that the registry can be reached from the engine.";
  const text = `${head}: ${said}. ${hint}`;
  return new AppError("image_unavailable", text, { cause, retry_after_s: 10 });
}

/** Returns an error's words without the image's name in any of its forms: it may be called `denied` or `blob`. */
function withoutName(words: string, reference: string): string {
  const { normalized, name, path, tag, digest } = parseImageReference(reference);
  const version = digest === null ? `:${tag ?? ""}` : `@${digest}`;
  const forms = [reference, normalized, name + version, path + version, name, path];
  // A bare word such as `blob` stays: it may be the engine's own.
  return forms.filter((form) => /[/:@]/.test(form)).reduce((text, form) => text.replaceAll(form, "..."), words);
}

/** Returns two hints: registries also refuse names that do not exist (Docker Hub does, if the caller has no right to them). */
function refusal(reference: string, said: string, credentials: RegistryCredentials | undefined): string {
  if (credentials === undefined) {
    const host = registryOf(reference) ?? "<host>";
    return (
      `the registry refused (${said}). Check the name; private images need credentials: ` +
      `PUT /v1/registries/${host} with "username" and "password".`
    );
  }
  // Without the username: callers of a function whose image is gone also get this message.
  const { host } = credentials;
  return (
    `the registry refused the stored credentials for "${host}" (${said}). ` +
    `Check the name and that they may pull it; PUT /v1/registries/${host} changes them.`
  );
}
