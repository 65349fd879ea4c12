import type { AskedPlaces, SharedPlaceStore } from "../../cluster/shared-places.ts";
import type { Client } from "../client/client.ts";

/** The places that servers have of functions (`max_concurrency`), and the only code with their SQL. */
export class SharedPlaceTable implements SharedPlaceStore {
  readonly #client: Client;
  readonly #server: string;

  constructor(client: Client, server: string) {
    this.#client = client;
    this.#server = server;
  }

  async set(function_id: string, { places, most, now, until }: AskedPlaces): Promise<number> {
    const found = await this.#client.get<{ places: number }>(
      `select slipway_set_places($function_id, $server, $places::integer, $most::integer, $now::bigint, $until::bigint)
         as places`,
      { function_id, server: this.#server, places, most, now, until },
    );
    return found?.places ?? 0;
  }

  async clear(): Promise<void> {
    await this.#client.run("delete from places where server = $server", { server: this.#server });
  }
}
