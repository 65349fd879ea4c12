import { AppError, messageOf } from "../../domain/errors.ts";
import { quoted } from "../../domain/quoted.ts";
import type { Logger } from "../../log.ts";
import { EngineError, isEngineStatus } from "../api/connection.ts";
import { NAME_PREFIX, OWNER_LABEL } from "../api/containers.ts";
import { ISOLATED_PREFIX, type NetworkDetails, type Networks, type NetworkSpec } from "../api/networks.ts";

/** Docker's option that makes its packet filter drop what the containers of a bridge send to each other. */
const ICC = "com.docker.network.bridge.enable_icc";
/** The option that names the bridge's interface, so that firewall rules can. */
const INTERFACE = "com.docker.network.bridge.name";
const MTU = "com.docker.network.driver.mtu";
/** Linux gives the name of an interface 15 characters: our prefix, and so many of the owner's id. */
const OWNER_DIGITS = 7;
/** The most looks for the network: somebody may create or remove it between two of ours. */
const LOOKS = 4;
/** The most characters of what the engine says about a network that is not ours. */
const SAID = 400;

interface IsolatedNetworkDeps {
  readonly networks: Pick<Networks, "inspect" | "create" | "remove">;
  readonly owner: string;
  readonly log: Logger;
}

/**
 * The network that the value `isolated` stands for: a bridge of this server, on which the engine lets no container reach
 * another. It is created when a container first needs it, and again when somebody has removed it; containers join it by
 * its id, so that none can get into another network of the same name.
 */
export class IsolatedNetwork {
  readonly #deps: IsolatedNetworkDeps;
  readonly #name: string;
  /** The network's id, as far as we know, or the search for it. */
  #found: Promise<string> | undefined;

  constructor(deps: IsolatedNetworkDeps) {
    this.#deps = deps;
    this.#name = `${ISOLATED_PREFIX}${deps.owner}`;
  }

  /** Returns the network's id, creating it if necessary. Throws `engine_unavailable` for a network of its name that is not ours. */
  id(): Promise<string> {
    return this.#found ?? this.#remember(this.#find());
  }

  /** Notes that a container could not join the network of this id. What is left of it goes, and `id` makes a new one. */
  async doubt(id: string): Promise<void> {
    const found = this.#found;
    if (found === undefined || (await found.catch(() => undefined)) !== id || this.#found !== found) return;
    void this.#remember(this.#discard(id).then(() => this.#find()));
  }

  /** Removes the network if it is there, ours and unused; returns whether it did. Throws if the engine cannot be asked. */
  async remove(): Promise<boolean> {
    this.#found = undefined;
    const network = await this.#deps.networks.inspect(this.#name);
    if (network === undefined || this.#problemOf(network) !== undefined) return false;
    return this.#discard(network.id);
  }

  /** Does the same when the server stops; what fails then is left to the next start, or to `slipway sweep`. */
  async removeAtEnd(): Promise<void> {
    try {
      await this.remove();
    } catch (error) {
      this.#deps.log.warn("isolated network not removed", { network: this.#name, problem: messageOf(error) });
    }
  }

  /** Remembers a search, unless it fails: the next container tries again. */
  #remember(search: Promise<string>): Promise<string> {
    this.#found = search;
    search.catch(() => {
      if (this.#found === search) this.#found = undefined;
    });
    return search;
  }

  async #find(): Promise<string> {
    const { networks, log } = this.#deps;
    let created = false;
    for (let look = 1; ; look++) {
      const network = await networks.inspect(this.#name);
      if (network !== undefined) {
        const problem = this.#problemOf(network);
        if (problem === undefined) return network.id;
        // An engine that does not know the option leaves it out: then nobody must join what it made.
        if (created && network.labels[OWNER_LABEL] === this.#deps.owner) await this.#discard(network.id);
        throw this.#unusable(network, problem, created);
      }
      try {
        await networks.create(await this.#spec());
        created = true;
        log.info("isolated network created", { network: this.#name });
      } catch (error) {
        // 409: somebody else has created it since we looked.
        if (!isEngineStatus(error, 409) || look >= LOOKS) throw error;
      }
      if (look >= LOOKS) throw this.#vanishing();
    }
  }

  async #spec(): Promise<NetworkSpec> {
    const { networks, owner } = this.#deps;
    // The engine's own setting counts for its default bridge alone.
    const mtu = (await networks.inspect("bridge"))?.options[MTU];
    return {
      Name: this.#name,
      // Engines before 25 otherwise create a second one of the same name.
      CheckDuplicate: true,
      Driver: "bridge",
      // The option counts for IPv4 alone on some engines.
      EnableIPv6: false,
      Options: {
        [ICC]: "false",
        [INTERFACE]: `${NAME_PREFIX}${owner.slice(0, OWNER_DIGITS)}`,
        ...(mtu !== undefined && { [MTU]: mtu }),
      },
      Labels: { [OWNER_LABEL]: owner },
    };
  }

  #problemOf({ driver, options, labels }: NetworkDetails): string | undefined {
    const { owner } = this.#deps;
    if (labels[OWNER_LABEL] !== owner)
      return `it is not this server's (its label ${OWNER_LABEL} is not ${quoted(owner)})`;
    if (driver !== "bridge") return "it is no bridge";
    return options[ICC] === "false" ? undefined : `its containers reach each other (${ICC} is not "false")`;
  }

  /** Returns whether the engine has removed a network; it refuses while containers are in it. */
  async #discard(id: string): Promise<boolean> {
    try {
      await this.#deps.networks.remove(id);
      this.#deps.log.info("isolated network removed", { network: this.#name });
      return true;
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      this.#deps.log.warn("isolated network not removed", { network: this.#name, problem: messageOf(error) });
      return false;
    }
  }

  #unusable({ driver, options, labels }: NetworkDetails, problem: string, created: boolean): AppError {
    const said = JSON.stringify({ Driver: driver, Options: options, Labels: labels }).slice(0, SAID);
    const remedy = created
      ? `The engine has just made it so: it cannot keep functions apart; PATCH the function's "network", to "none" if it needs none.`
      : `Remove it with \`docker network rm ${this.#name}\`: the next call makes a new one.`;
    return new AppError(
      "engine_unavailable",
      `The network "${this.#name}", which "isolated" stands for, cannot be used: ${problem}. ${remedy} The engine said: ${said}`,
      { retry_after_s: 5 },
    );
  }

  #vanishing(): AppError {
    return new AppError(
      "engine_unavailable",
      `The network "${this.#name}", which "isolated" stands for, is removed as often as it is created: find out by whom`,
      { retry_after_s: 5 },
    );
  }
}
