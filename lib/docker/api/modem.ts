import type DockerModem from "docker-modem";
import type { EngineAddress, EngineTls } from "../../domain/engine-address.ts";

const ENGINE_PORT = 2375;
const ENGINE_TLS_PORT = 2376;

/** The docker-modem for an engine's address; another one when the engine's certificates have changed. */
export class Modem {
  readonly #address: EngineAddress;
  #loaded: { readonly tls: EngineTls | undefined; readonly modem: Promise<DockerModem> } | undefined;

  constructor(address: EngineAddress) {
    this.#address = address;
  }

  /** Returns the modem for a request that is made now. */
  async now(): Promise<DockerModem> {
    const address = this.#address;
    const tls = "socketPath" in address ? undefined : await address.tls?.current();
    if (this.#loaded === undefined || this.#loaded.tls !== tls) this.#loaded = { tls, modem: load(address, tls) };
    return this.#loaded.modem;
  }
}

/** Loads docker-modem at the first request: with the runtime modules that it needs, it would add 10 ms to the start. */
async function load(address: EngineAddress, tls: EngineTls | undefined): Promise<DockerModem> {
  const { default: Modem } = await import("docker-modem");
  const { default: modemHttp } = await import("docker-modem/lib/http.js");
  // docker-modem follows a 301 (an empty id gives one) to a host named "containers" and takes the process down with it.
  modemHttp.maxRedirects = 0;
  // Without an explicit host docker-modem would read DOCKER_HOST itself and ignore the socket.
  if ("socketPath" in address) return new Modem({ socketPath: address.socketPath, host: undefined });
  const { host, port } = address;
  return tls === undefined
    ? new Modem({ host: `http://${host}`, port: port ?? ENGINE_PORT, protocol: "http" })
    : new Modem({ host: `https://${host}`, port: port ?? ENGINE_TLS_PORT, protocol: "https", ...tls });
}
