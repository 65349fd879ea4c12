import { homedir } from "node:os";
import { join } from "node:path";
import type { Clock } from "../clock.ts";
import { type Config, ConfigError } from "../config/config.ts";
import type { EngineAddress, EngineTls, EngineTlsSource } from "../domain/engine-address.ts";
import { messageOf } from "../domain/errors.ts";
import type { Logger } from "../log.ts";
import { readSmallFile } from "../private-files.ts";
import { checkPair, stateOf } from "./ports/tls-files.ts";

/** The files are looked at once in so many milliseconds, as those of the server's own TLS. */
const LOOK_MS = 1_000;

interface Tools {
  readonly clock: Clock;
  readonly log: Logger;
}

/** Returns the engine's address, with its certificates if it is reached by TLS. Throws a `ConfigError`. */
export async function readEngineAddress(
  { dockerHost, dockerTlsVerify, dockerCertPath }: Pick<Config, "dockerHost" | "dockerTlsVerify" | "dockerCertPath">,
  tools: Tools,
): Promise<EngineAddress> {
  if (dockerTlsVerify === null || "socketPath" in dockerHost) return dockerHost;
  const directory = dockerCertPath ?? join(homedir(), ".docker");
  return { ...dockerHost, tls: await EngineCertificates.read(directory, tools) };
}

/** The certificates in DOCKER_CERT_PATH. They are read again when their files have changed. */
class EngineCertificates implements EngineTlsSource {
  readonly #directory: string;
  readonly #tools: Tools;
  #now: EngineTls;
  #state: string;
  #lookedAt: number;

  private constructor(directory: string, tools: Tools, first: { readonly tls: EngineTls; readonly state: string }) {
    this.#directory = directory;
    this.#tools = tools;
    this.#now = first.tls;
    this.#state = first.state;
    this.#lookedAt = tools.clock.monotonic();
  }

  /** Reads the files. Throws a `ConfigError` if they cannot be used. */
  static async read(directory: string, tools: Tools): Promise<EngineCertificates> {
    const state = await stateOf(filesIn(directory));
    return new EngineCertificates(directory, tools, { tls: await readAll(directory), state });
  }

  /** While the new files cannot be used, or do not belong together yet, it is those before them. */
  async current(): Promise<EngineTls> {
    const { clock, log } = this.#tools;
    if (clock.monotonic() - this.#lookedAt < LOOK_MS) return this.#now;
    this.#lookedAt = clock.monotonic();
    const state = await stateOf(filesIn(this.#directory));
    if (state === this.#state) return this.#now;
    this.#state = state;
    try {
      this.#now = await readAll(this.#directory);
      log.info("the engine's certificates have changed: they are read again", { directory: this.#directory });
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      log.warn("the engine's new certificates cannot be used: the old ones stay", { problem: error.message });
    }
    return this.#now;
  }
}

function filesIn(directory: string): readonly [ca: string, cert: string, key: string] {
  return [join(directory, "ca.pem"), join(directory, "cert.pem"), join(directory, "key.pem")];
}

async function readAll(directory: string): Promise<EngineTls> {
  const [caFile, certFile, keyFile] = filesIn(directory);
  const [ca, cert, key] = [readPem(caFile), readPem(certFile), readPem(keyFile)];
  await checkPair([certFile, cert], [keyFile, key]);
  return { ca, cert, key };
}

function readPem(file: string): string {
  try {
    return readSmallFile(file);
  } catch (error) {
    throw new ConfigError(`Cannot read "${file}" for DOCKER_TLS_VERIFY: ${messageOf(error)}. Set DOCKER_CERT_PATH.`, {
      cause: error,
    });
  }
}
