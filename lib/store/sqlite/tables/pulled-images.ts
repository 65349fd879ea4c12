import type { Clock } from "../../../clock.ts";
import type { PulledImage } from "../../../domain/images/pulled-images.ts";
import { timestamp } from "../../../domain/types.ts";
import type { Database, Statement } from "../database/database.ts";
import { fromJson } from "../database/json.ts";

interface Row {
  readonly image_id: string;
  readonly names: string;
}

/**
 * Whether functions need an image: for their latest `$keep` versions, of which the last is what they are now, or for one
 * that a route names. Numbers have gaps only where versions are too old to be kept.
 */
const needed = (imageId: string): string => `
  exists (
    select 1 from versions join functions on functions.id = versions.function_id
    where versions.image_id = ${imageId} and versions.version > functions.version - $keep
  )
  or exists (
    select 1 from versions join routes on routes.function_id = versions.function_id
    where versions.image_id = ${imageId} and versions.version in (routes.version, routes.split ->> 'version')
  )`;

/** The images that this server pulled, the only place of their SQL. */
export class PulledImageStore {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #put: Statement<never>;
  readonly #delete: Statement<never>;
  readonly #list: Statement<Row>;
  readonly #unneeded: Statement<Row>;
  readonly #isNeeded: Statement<{ needed: number }>;

  constructor(database: Database, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
    this.#put = database.prepare(
      "insert into pulled_images (image_id, names, pulled_at) values ($image_id, $names, $pulled_at) " +
        "on conflict (image_id) do update set names = excluded.names",
    );
    this.#delete = database.prepare("delete from pulled_images where image_id = $image_id");
    this.#list = database.prepare("select image_id, names from pulled_images order by pulled_at, image_id");
    this.#unneeded = database.prepare(
      `select image_id, names from pulled_images where not (${needed("pulled_images.image_id")}) order by pulled_at, image_id`,
    );
    this.#isNeeded = database.prepare(`select ${needed("$image_id")} as needed`);
  }

  list(): PulledImage[] {
    return this.#list.all().map(imageOf);
  }

  /** Those that no function needs of which `keep` versions are kept, oldest first. */
  unneeded(keep: number): PulledImage[] {
    return this.#unneeded.all({ keep }).map(imageOf);
  }

  isNeeded(imageId: string, keep: number): boolean {
    return this.#isNeeded.get({ image_id: imageId, keep })?.needed === 1;
  }

  /** Puts what `change` makes of all that is known in its place: the images that are to be written, each whole. */
  async update(change: (known: readonly PulledImage[]) => readonly PulledImage[]): Promise<void> {
    await this.#database.durably(() => {
      const pulled_at = timestamp(this.#clock.now());
      for (const { image_id, names } of change(this.list()))
        this.#put.run({ image_id, names: JSON.stringify(names), pulled_at });
    });
  }

  async delete(imageId: string): Promise<void> {
    await this.#database.durably(() => this.#delete.run({ image_id: imageId }));
  }
}

function imageOf({ image_id, names }: Row): PulledImage {
  return { image_id, names: fromJson(names) };
}
