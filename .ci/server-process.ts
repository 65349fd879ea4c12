import { mkdir } from "node:fs/promises";
import { findProgram, SetupError } from "./packages.ts";
import { inRepository, ROOT } from "./steps.ts";

const READY_TIMEOUT_MS = 20_000;

/** A server in a process of its own; leaving its scope stops it with SIGTERM. */
export interface ServerProcess extends AsyncDisposable {
  readonly url: string;
  readonly dataPath: string;
  readonly exited: Promise<number>;
}

/** Starts the server from source and waits until it can run functions. */
export async function startServer(variables: Readonly<Record<"DOCKER_HOST" | "PORT", string>>): Promise<ServerProcess> {
  const dataPath = process.env["DATA_PATH"] ?? inRepository(".cache", "start");
  await mkdir(dataPath, { recursive: true });
  const url = `http://localhost:${variables.PORT}`;
  const child = Bun.spawn([...tiedToUs(), process.execPath, "index.ts", "serve"], {
    cwd: ROOT,
    env: { LOG_LEVEL: "warn", ...process.env, ...variables, HOST: "127.0.0.1", DATA_PATH: dataPath },
    stdio: ["ignore", "inherit", "inherit"],
    // In a process group of its own: Ctrl-C reaches only us and we pass it on once; two signals would force its end.
    detached: true,
  });
  const stop = async (): Promise<void> => {
    child.kill("SIGTERM");
    await child.exited;
  };
  try {
    await untilReady(url, child);
  } catch (error) {
    await stop();
    throw error;
  }
  return { url, dataPath, exited: child.exited, [Symbol.asyncDispose]: stop };
}

/** On Linux, has the server get SIGTERM if we are killed. */
function tiedToUs(): string[] {
  const setpriv = process.platform === "linux" ? findProgram("setpriv") : null;
  return setpriv === null ? [] : [setpriv, "--pdeathsig", "TERM"];
}

async function untilReady(url: string, child: Bun.Subprocess): Promise<void> {
  const deadline = performance.now() + READY_TIMEOUT_MS;
  let last = "it did not answer";
  while (performance.now() < deadline) {
    if (child.exitCode !== null) throw new SetupError(`The server exited with code ${child.exitCode}.`);
    try {
      const response = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2000) });
      if (response.ok) return;
      last = await response.text();
    } catch {
      // Not listening yet.
    }
    await Bun.sleep(50);
  }
  throw new SetupError(`The server is not ready after ${READY_TIMEOUT_MS / 1000} s: ${last}`);
}
