import { AppError } from "../../domain/errors.ts";
import { cellsRefused } from "../../domain/functions/isolation.ts";
import { ISOLATED, type Settings } from "../../domain/functions/settings.ts";
import { CPUS, MEMORY_BYTES } from "../../domain/limits.ts";
import { type EngineConnection, EngineError } from "../api/connection.ts";
import { listNetworks } from "../api/networks.ts";
import { engineSystem, type System } from "../api/system.ts";
import { namedVolumeProblem } from "../api/volumes.ts";
import { overlap } from "../../domain/functions/volumes.ts";
import { GATE_DIRECTORY } from "../images/volumes.ts";

/** The networks that every engine has, and the one that the server makes when it is first needed. */
const ALWAYS = ["bridge", ISOLATED, "none"];

/** The parts of every container that no function's volume may be or hide. */
interface OwnMounts {
  /** The name of the volume that brings the gate. */
  readonly gate_volume: string;
  /** The part of CONTEXT_PATH before the id. */
  readonly context_root: string;
}

/** Checks whether the engine has what settings need. It is asked only about things that not every engine has. */
export class SettingsCheck {
  readonly #connection: EngineConnection;
  readonly #own: OwnMounts;

  constructor(connection: EngineConnection, own: OwnMounts) {
    this.#connection = connection;
    this.#own = own;
  }

  /** Throws `invalid_request` naming what the engine has, and `engine_unavailable` if it cannot be asked. */
  async check(settings: Partial<Settings>): Promise<void> {
    const { network, runtime, cpus = 0, memory_bytes = 0, volumes = [] } = settings;
    if (network === ISOLATED && this.#connection.isPodman) throw podmanIsolates();
    try {
      const problem = await this.volumesProblem(volumes);
      if (problem !== undefined) throw new AppError("invalid_request", `Invalid "volumes": ${problem}`);
      if (network !== undefined && !ALWAYS.includes(network)) await this.#checkNetwork(network);
      if (settings.isolation === "cell") {
        const cause = this.#cellProblem();
        if (cause !== null) throw cellsRefused(cause, null);
      }
      if (runtime || cpus > CPUS.default || memory_bytes > MEMORY_BYTES.default) {
        checkMachine(settings, await engineSystem(this.#connection));
      }
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      throw new AppError("engine_unavailable", `Cannot check the settings with the engine: ${error.message}`, {
        cause: error,
      });
    }
  }

  /**
   * Returns why the engine cannot make cells, in plain words that follow a colon, or null if that is not known: the runner
   * finds out by having a gate try.
   */
  #cellProblem(): string | null {
    return this.#connection.isPodman ? "cells have not been tried with Podman" : null;
  }

  /**
   * Returns why a function cannot have these volumes, or nothing. Also asked before each start: somebody may have made a
   * volume of this name since. Throws `EngineError` or `engine_unavailable`.
   */
  async volumesProblem(volumes: Settings["volumes"]): Promise<string | undefined> {
    for (const { name, path } of volumes) {
      const taken = [GATE_DIRECTORY, this.#own.context_root].find((directory) => overlap(directory, path));
      if (taken !== undefined) {
        return `the path ${JSON.stringify(path)} is at, above or below ${taken}, which Slipway uses itself: give another path`;
      }
      const problem =
        name === this.#own.gate_volume
          ? "it brings Slipway's own program into containers"
          : await namedVolumeProblem(this.#connection, name);
      if (problem !== undefined) return `a function cannot have the volume "${name}": ${problem}: name another volume`;
    }
    return undefined;
  }

  async #checkNetwork(name: string): Promise<void> {
    const networks = await listNetworks(this.#connection);
    const found = networks.find((network) => network.name === name);
    if (found?.problem !== undefined) {
      throw new AppError("invalid_request", `A function cannot join the network "${name}": ${found.problem}`);
    }
    if (found !== undefined) return;
    const known = networks.filter(({ problem }) => problem === undefined).map((network) => network.name);
    throw new AppError(
      "invalid_request",
      `The engine has no network ${JSON.stringify(name)}, but ${listed(new Set([...ALWAYS, ...known]))}: ` +
        "use one of these, or create it with `docker network create`",
    );
  }
}

function podmanIsolates(): AppError {
  return new AppError(
    "invalid_request",
    'Podman has no network that is "isolated": it cannot keep containers on a bridge apart; use "none", or "bridge" if functions may reach each other',
  );
}

function checkMachine({ runtime, cpus = 0, memory_bytes = 0 }: Partial<Settings>, system: System): void {
  if (runtime && !system.runtimes.includes(runtime)) {
    throw new AppError(
      "invalid_request",
      `The engine has no runtime ${JSON.stringify(runtime)}, but ${listed(system.runtimes)}: ` +
        "use one of these, or add it to the engine's configuration",
    );
  }
  if (system.cpus !== undefined && cpus > system.cpus) {
    throw new AppError("invalid_request", `"cpus" is ${cpus}, and the engine's machine has ${system.cpus}: lower it`);
  }
  if (system.memory_bytes !== undefined && memory_bytes > system.memory_bytes) {
    throw new AppError(
      "invalid_request",
      `"memory_bytes" is ${memory_bytes}, and the engine's machine has ${system.memory_bytes}: lower it`,
    );
  }
}

/** The most names in a message. */
const NAMES = 20;

function listed(names: Iterable<string>): string {
  const all = [...names].map((name) => JSON.stringify(name));
  return all.length > NAMES ? `${all.slice(0, NAMES).join(", ")} and ${all.length - NAMES} more` : all.join(", ");
}
