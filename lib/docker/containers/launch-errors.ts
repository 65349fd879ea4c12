import { AppError } from "../../domain/errors.ts";
import type { Function } from "../../domain/functions/functions.ts";
import { ISOLATED } from "../../domain/functions/settings.ts";
import { shownWords } from "../api/registry-auth.ts";
import { EngineError, isEngineStatus } from "../api/connection.ts";
import { GATE_DIRECTORY } from "../images/volumes.ts";

/** Returns whether the engine refused a container because it has lost the image. */
export function isImageGone(fn: Function, error: unknown): boolean {
  return (
    isEngineStatus(error, 404) &&
    lostNetwork(fn, error) === undefined &&
    /no such image|image.* not found|not found: .*image/i.test(error.message)
  );
}

/** Returns whether the gate was not found. Podman prepares a container when it is attached to, and answers 409 then. */
export function isGateMissing(error: unknown): error is EngineError {
  return (
    isEngineStatus(error, 400, 404, 409, 500) &&
    ["container start", "container attach"].includes(error.operation) &&
    error.message.includes(`${GATE_DIRECTORY}/`)
  );
}

/** Returns whether somebody has removed a container that was created and not started yet. */
export function isContainerRemoved(error: unknown): error is EngineError {
  return (
    isEngineStatus(error, 404, 409) &&
    ["container start", "container attach"].includes(error.operation) &&
    /no such container|marked for removal/i.test(error.message)
  );
}

/** Returns whether the engine may not set a limit of a container's processes: runc and crun name the call. */
export function isLimitRefused(error: unknown): error is EngineError {
  return error instanceof EngineError && /rlimit/i.test(error.message);
}

/** Returns the error for a container that did not find the gate though it is in its volume: the image hides it. */
export function gateHidden(fn: Function, cause: EngineError): AppError {
  const message =
    `Cannot start a container of image "${fn.image}": ${GATE_DIRECTORY}, where Slipway's own files are, is hidden in it: ` +
    `remove what the image has there, and any VOLUME that is a link to it`;
  return new AppError("entrypoint_failed", message, { cause });
}

/**
 * Returns the error of a container that the engine refused, with the engine's own words: they are for the record of the
 * call. Callers of `/r` never see them (lib/domain/calls/public-message.ts).
 */
export function refusal(fn: Function, error: unknown): unknown {
  if (!(error instanceof EngineError)) return error;
  const head = `Cannot start a container of image "${fn.image}"`;
  const own = [fn.working_dir, ...(fn.entrypoint ?? []), ...(fn.command ?? [])].filter((text) => text !== null);
  const said = `The engine said: ${shownWords(error, own)}`;
  const network = lostNetwork(fn, error);
  if (network !== undefined) {
    if (network === ISOLATED) {
      return new AppError(
        "engine_unavailable",
        `${head}: its network is removed as often as it is created: find out by whom. ${said}`,
        { cause: error, retry_after_s: 5 },
      );
    }
    return new AppError(
      "engine_unavailable",
      `${head}: the engine has no network "${network}" any more: create it again, or PATCH the function's "network". ${said}`,
      { cause: error, retry_after_s: 5 },
    );
  }
  if (/not a directory/i.test(error.message) && error.message.includes(GATE_DIRECTORY)) return gateHidden(fn, error);
  const wrong = wrongSetting(fn, error.message);
  if (wrong !== undefined) return new AppError("entrypoint_failed", `${head}: ${wrong}. ${said}`, { cause: error });
  return new AppError(
    "engine_unavailable",
    `${head}: the engine refused (${error.operation}, status ${error.status}). ${said}`,
    {
      cause: error,
      retry_after_s: 5,
    },
  );
}

/** Returns the network that the engine misses, at create or at start. Its name may be `my-image`, so this is checked first. */
function lostNetwork({ network }: Function, error: unknown): string | undefined {
  return isEngineStatus(error, 404) && /network\b.*\bnot found/i.test(error.message) ? network : undefined;
}

/**
 * Returns whether a container could not join the network because that is gone, or is going, or has lost its bridge, by the
 * words of Docker 20.10 to 29: at create, at start, and while a network is being removed.
 */
export function isNetworkLost(error: unknown): error is EngineError {
  return (
    error instanceof EngineError &&
    /network\b.*\b(?:not found|does not exist|no longer|being (?:removed|deleted))|could not find bridge|no such network interface/i.test(
      error.message,
    )
  );
}

/** Returns which setting the engine refuses, and what to do, by the words of Docker 20.10 to 29. */
function wrongSetting(fn: Function, said: string): string | undefined {
  const account = /unable to find (user|group) ([^:]+)/.exec(said);
  if (account !== null) {
    const where = fn.user === null ? "its USER" : `the function's "user"`;
    return `the image has no ${account[1]} "${account[2]}"; check ${where}`;
  }
  if (/unknown.* runtime/i.test(said)) return `the engine has no runtime "${fn.runtime}" any more: PATCH "runtime"`;
  if (/range of cpus/i.test(said)) return `"cpus" is ${fn.cpus}, and the engine's machine has fewer: lower it`;
  if (/chdir to cwd|cannot mkdir/i.test(said)) {
    return fn.working_dir === null
      ? "its WORKDIR cannot be entered; check that it is a directory and that its USER may"
      : `"working_dir" ${JSON.stringify(fn.working_dir)} cannot be entered; check that it is a directory and that the user may`;
  }
  if (/rlimit/i.test(said)) return `"nofile" is ${fn.nofile}, and the engine may not give that many: lower it`;
  return /memory/i.test(said) ? '"memory_bytes" is too small for the engine' : undefined;
}
