import { messageOf } from "../domain/errors.ts";
import type { Logger } from "../log.ts";
import type { EngineConnection } from "./api/connection.ts";
import { engineId } from "./api/system.ts";

/** Knows the id of the engine, by which servers find out that they have the same one. */
export class EngineIdentity {
  readonly #connection: EngineConnection;
  readonly #log: Logger;
  #id: string | null = null;

  constructor(connection: EngineConnection, log: Logger) {
    this.#connection = connection;
    this.#log = log;
  }

  /** The id; null if the engine has none, or has not been asked. */
  get id(): string | null {
    return this.#id;
  }

  /** Asks the engine, which may be another one since it was connected to again. Never rejects. */
  async ask(): Promise<void> {
    try {
      this.#id = await engineId(this.#connection);
    } catch (error) {
      this.#log.info("the engine does not say its id", { problem: messageOf(error) });
    }
  }
}
