import type { Member, MemberStore, Report } from "../../members.ts";
import type { Client } from "../client/client.ts";

/** The time after which a server that has not reported itself is forgotten, in milliseconds. */
const FORGOTTEN_MS = 86_400_000;

/** As it is read: the column `places` has `ready_calls` as JSON. */
type Row = Omit<Member, "ready_calls"> & { readonly places: string };

interface ServerTableDeps {
  readonly client: Client;
  readonly id: string;
  /** Returns false if another process has taken the place of this one. */
  readonly isPresent: () => boolean;
}

/** The servers that use the database, the only place of their SQL. */
export class ServerTable implements MemberStore {
  readonly id: string;
  readonly #deps: ServerTableDeps;

  constructor(deps: ServerTableDeps) {
    this.id = deps.id;
    this.#deps = deps;
  }

  async report({ ready_calls, ...own }: Report): Promise<Member[]> {
    if (!this.#deps.isPresent()) return [];
    const rows = await this.#deps.client.all<Row>(
      `with clock as (select (extract(epoch from clock_timestamp()) * 1000)::bigint as now),
         mine as (
           insert into servers (id, epoch, url, version, heartbeat, places, engine)
           select $id, $epoch, $url, $version, now, $places::text::jsonb, $engine from clock
           on conflict (id) do update set epoch = excluded.epoch, url = excluded.url, version = excluded.version,
             heartbeat = excluded.heartbeat, places = excluded.places, engine = excluded.engine
         ),
         gone as (delete from servers using clock where id <> $id and heartbeat < now - $forgotten::bigint)
       select id, epoch, url, version, greatest(0, now - heartbeat) as age_ms, places::text as places, engine
       from servers, clock where id <> $id and heartbeat >= now - $forgotten::bigint order by id`,
      { ...own, id: this.id, places: JSON.stringify(ready_calls), forgotten: FORGOTTEN_MS },
    );
    // `report` of that server has written them.
    return rows.map(({ places, ...row }) => ({ ...row, ready_calls: JSON.parse(places) as Report["ready_calls"] }));
  }

  async leave(epoch: string): Promise<void> {
    await this.#deps.client.run("delete from servers where id = $id and epoch = $epoch", { id: this.id, epoch });
  }
}
