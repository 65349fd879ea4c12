import type { Clock } from "../../../clock.ts";
import { afterPull, type Pulled, type PulledImage } from "../../../domain/images/pulled-images.ts";
import { timestamp } from "../../../domain/types.ts";
import type { PulledImageStore } from "../../configuration.ts";
import type { ConfigurationWriter } from "../configuration-writer.ts";
import type { Database, Statement } from "../database/database.ts";
import { fromJson } from "../database/json.ts";

interface Row {
  readonly image_id: string;
  readonly names: string;
}

/** The ids that functions have for images, written by servers with other engines, and those on this server's engine. */
const WITH_OWN = `
  with own (image_id, own_id) as materialized (
    select entry.key, entry.value from settings, json_each(settings.value) as entry where settings.key = 'own_image_ids'
  )`;

/** The ids by which functions may have an image. */
const idsOf = (imageId: string): string =>
  `select ${imageId} union all select own.image_id from own where own.own_id = ${imageId}`;

/**
 * The condition that functions need an image: for their latest `$keep` versions, the present one included, or for one
 * that a route names. Version numbers have gaps only if versions are too old to be kept.
 */
const needed = (imageId: string): string => `
  exists (
    select 1 from versions join functions on functions.id = versions.function_id
    where versions.image_id in (${idsOf(imageId)}) and versions.version > functions.version - $keep
  )
  or exists (
    select 1 from versions join routes on routes.function_id = versions.function_id
    where versions.image_id in (${idsOf(imageId)}) and versions.version in (routes.version, routes.split ->> 'version')
  )`;

/** The images that this server pulled, the only place of their SQL. */
export class PulledImageTable implements PulledImageStore {
  readonly #writer: ConfigurationWriter;
  readonly #clock: Clock;
  readonly #put: Statement<never>;
  readonly #delete: Statement<never>;
  readonly #get: Statement<Row>;
  readonly #list: Statement<Row>;
  readonly #unneeded: Statement<Row>;
  readonly #isNeeded: Statement<{ needed: number }>;
  readonly #keep: Statement<never>;
  readonly #keptUntil: Statement<{ until: string | null }>;
  readonly #used: Statement<Pick<Row, "image_id">>;
  readonly #anyKept: Statement<unknown>;
  /** False if it is known that no image is kept until some time. Nobody else writes here. */
  #mayBeKept = true;

  constructor(database: Database, writer: ConfigurationWriter, clock: Clock) {
    this.#writer = writer;
    this.#clock = clock;
    this.#put = database.prepare(
      "insert into pulled_images (image_id, names, pulled_at) values ($image_id, $names, $pulled_at) " +
        "on conflict (image_id) do update set names = excluded.names",
    );
    this.#delete = database.prepare("delete from pulled_images where image_id = $image_id");
    this.#get = database.prepare("select image_id, names from pulled_images where image_id = $image_id");
    this.#list = database.prepare("select image_id, names from pulled_images order by pulled_at, image_id");
    this.#unneeded = database.prepare(
      `${WITH_OWN} select image_id, names from pulled_images
       where (keep_until is null or keep_until <= $now) and not (${needed("pulled_images.image_id")})
       order by pulled_at, image_id`,
    );
    this.#keep = database.prepare("update pulled_images set keep_until = $keep_until where image_id = $image_id");
    this.#keptUntil = database.prepare("select min(keep_until) as until from pulled_images where keep_until > $now");
    this.#used = database.prepare(
      `${WITH_OWN} select image_id from pulled_images where keep_until is not null and (${needed("pulled_images.image_id")})`,
    );
    this.#anyKept = database.prepare("select 1 from pulled_images where keep_until is not null limit 1");
    this.#isNeeded = database.prepare(`${WITH_OWN} select ${needed("$image_id")} as needed`);
  }

  get(imageId: string): PulledImage | undefined {
    const row = this.#get.get({ image_id: imageId });
    return row === undefined ? undefined : imageOf(row);
  }

  list(): PulledImage[] {
    return this.#list.all().map(imageOf);
  }

  unneeded(keep: number): PulledImage[] {
    return this.#unneeded.all({ keep, now: timestamp(this.#clock.now()) }).map(imageOf);
  }

  isNeeded(imageId: string, keep: number): boolean {
    return this.#isNeeded.get({ image_id: imageId, keep })?.needed === 1;
  }

  keptUntil(): string | undefined {
    return this.#keptUntil.get({ now: timestamp(this.#clock.now()) })?.until ?? undefined;
  }

  async noteUsed(keep: number): Promise<void> {
    // This comes with every change of a function, and looks at all of them.
    if (!this.#mayBeKept) return;
    const used = this.#used.all({ keep });
    if (used.length === 0) {
      this.#mayBeKept = this.#anyKept.get() !== undefined;
      return;
    }
    await this.#writer.write(() => {
      for (const { image_id } of used) this.#keep.run({ image_id, keep_until: null });
    });
  }

  async record(pulled: Pulled, keepUntil?: string): Promise<void> {
    await this.#writer.write(() => {
      this.putNow(afterPull(this.list(), pulled));
      if (keepUntil === undefined) return;
      this.#mayBeKept = true;
      this.#keep.run({ image_id: pulled.image_id, keep_until: keepUntil });
    });
  }

  /** Part of a transaction: writes images, each whole. */
  putNow(images: readonly PulledImage[]): void {
    const pulled_at = timestamp(this.#clock.now());
    for (const { image_id, names } of images) this.#put.run({ image_id, names: JSON.stringify(names), pulled_at });
  }

  async delete(imageId: string): Promise<void> {
    await this.#writer.write(() => this.#delete.run({ image_id: imageId }));
  }
}

function imageOf({ image_id, names }: Row): PulledImage {
  return { image_id, names: fromJson(names) };
}
