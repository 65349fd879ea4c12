import { idOf, isOwn, MIRRORED, type MirroredTable } from "../configuration/mirrored-tables.ts";
import { MOVED } from "../../sqlite/database/moved.ts";

/** A row of SQLite. */
export type Columns = Readonly<Record<string, string | number | Uint8Array | null>>;

/** Rows of a table of SQLite, and how they are written. */
export interface MovedTable {
  readonly name: string;
  /** Selects the rows. */
  readonly from: string;
  /** Returns a row as `into` has it, as JSON: bytes are in hex. */
  readonly rowOf: (columns: Columns) => object;
  /** Writes `$rows`, a JSON array, as rows of the server `$holder`. */
  readonly into: string;
}

/** The change of the configuration that writes all of it: the first one. */
export const VERSION = 1;

/** Bytes as `rowOf` gives them, from a column of JSON. */
const bytes = (column: string) => `decode(${column}, 'hex')`;

/** The tables of the configuration: each row is JSON, of the columns that it has. */
const CONFIGURATION: readonly MovedTable[] = MIRRORED.map((table) => ({
  name: table.name,
  from: `select ${idOf(table, table.name)} as row_id, ${placeOf(table)}* from ${table.name}${
    table.name === "settings" ? ` where key <> '${MOVED}'` : ""
  }`,
  rowOf: ({ row_id, ...record }) => {
    const id = String(row_id);
    return { kind: table.name, id, own: isOwn(table.name, id), record: JSON.stringify(record) };
  },
  into: `insert into configuration (owner, kind, id, version, record)
    select case when own then $holder else '' end, kind, id, ${VERSION}, record
    from json_to_recordset($rows::text::json) as row (kind text, id text, own boolean, record text)`,
}));

function placeOf({ hasPlace }: MirroredTable): string {
  return hasPlace ? "rowid, " : "";
}

/** The queue, the records and all else. In this order no row refers to one of a later table. */
const LEDGER: readonly MovedTable[] = [
  {
    name: "invocations",
    from: "select * from invocations order by created_at, id",
    rowOf: ({ logs = null, ...record }) => {
      const { id, function_id, status, mode, key_id, replay_of, parent_id, undelivered, created_at, finished_at } =
        record;
      const columns = { id, function_id, status, mode, key_id, replay_of, parent_id, created_at, finished_at };
      return { ...columns, undelivered, record: JSON.stringify(record), logs };
    },
    into: `insert into invocations
        (id, function_id, status, mode, key_id, replay_of, parent_id, undelivered, created_at, finished_at, holder, record, logs)
      select id, function_id, status, mode, key_id, replay_of, parent_id, undelivered, created_at, finished_at, $holder, record, logs
      from json_to_recordset($rows::text::json) as row (id text, function_id text, status text, mode text, key_id text,
        replay_of text, parent_id text, undelivered text, created_at text, finished_at text, record text, logs text)`,
  },
  {
    name: "attempts",
    from: "select * from attempts",
    rowOf: ({ invocation_id, logs = null, ...record }) => {
      return { invocation_id, attempt: record["attempt"], record: JSON.stringify(record), logs };
    },
    into: `insert into attempts (invocation_id, attempt, record, logs) select invocation_id, attempt, record, logs
      from json_to_recordset($rows::text::json) as row (invocation_id text, attempt integer, record text, logs text)`,
  },
  {
    name: "payloads",
    from: "select * from payloads join payload_sizes using (invocation_id)",
    rowOf: (columns) => columns,
    into: `insert into payloads (invocation_id, request, request_meta, response, response_meta, bytes, settled_at)
      select invocation_id, ${bytes("request")}, request_meta, ${bytes("response")}, response_meta, bytes, settled_at
      from json_to_recordset($rows::text::json) as row (invocation_id text, request text, request_meta text,
        response text, response_meta text, bytes bigint, settled_at bigint)`,
  },
  {
    name: "work",
    from: "select * from work",
    rowOf: (columns) => columns,
    // Attempts of a server that was killed are its own here, too: with its name it frees them when it starts.
    into: `insert into work (invocation_id, function_id, state, priority, due, attempts, lost_attempts, lease_until, waits_since, holder)
      select invocation_id, function_id, state, priority, due, attempts, lost_attempts, lease_until, waits_since,
        case when lease_until is null then null else $holder end
      from json_to_recordset($rows::text::json) as row (invocation_id text, function_id text, state text, priority integer,
        due bigint, attempts integer, lost_attempts integer, lease_until bigint, waits_since bigint)`,
  },
  {
    name: "deliveries",
    from: "select * from deliveries",
    rowOf: ({ receiver, ...record }) => {
      const { invocation_id, state, due, since } = record;
      return { invocation_id, receiver, state, due, since, record: JSON.stringify(record) };
    },
    into: `insert into deliveries (invocation_id, receiver, state, due, since, record)
      select invocation_id, receiver, state, due, since, record
      from json_to_recordset($rows::text::json) as row (invocation_id text, receiver text, state text, due bigint,
        since bigint, record text)`,
  },
  {
    name: "idempotency_keys",
    from: "select * from idempotency_keys",
    rowOf: (columns) => columns,
    into: `insert into idempotency_keys (function_id, owner, key, request_hash, invocation_id, created_at)
      select function_id, owner, key, request_hash, invocation_id, created_at
      from json_to_recordset($rows::text::json) as row (function_id text, owner text, key text, request_hash text,
        invocation_id text, created_at bigint)`,
  },
  {
    name: "stored_answers",
    from: "select * from stored_answers",
    rowOf: (columns) => columns,
    into: `insert into stored_answers (invocation_id, record, response_meta, response, bytes)
      select invocation_id, record, response_meta, ${bytes("response")}, bytes
      from json_to_recordset($rows::text::json) as row (invocation_id text, record text, response_meta text,
        response text, bytes bigint)`,
  },
  {
    name: "audit",
    from: "select * from audit order by id",
    rowOf: (columns) => columns,
    // With their numbers, by which pages of the log continue.
    into: `insert into audit (id, at, event, key_id, address, method, path, status) overriding system value
      select id, at, event, key_id, address, method, path, status
      from json_to_recordset($rows::text::json) as row (id bigint, at text, event text, key_id text, address text,
        method text, path text, status integer)`,
  },
  figures("stats_minutes", "minute"),
  figures("stats_hours", "hour"),
  {
    name: "stats_sizes",
    from: "select * from stats_sizes",
    rowOf: (columns) => columns,
    into: `update figures_sizes set rows = row.rows, bytes = row.bytes
      from json_to_recordset($rows::text::json) as row (resolution text, rows bigint, bytes bigint)
      where figures_sizes.resolution = row.resolution`,
  },
  {
    name: "uncounted",
    // A backlog is what an older version has left uncounted: there is none in PostgreSQL.
    from: `select invocation_id from uncounted union
      select id from invocations where finished_at is not null and id < (select before_id from stats_backlog)`,
    rowOf: (columns) => columns,
    into: `insert into uncounted (invocation_id)
      select invocation_id from json_to_recordset($rows::text::json) as row (invocation_id text)`,
  },
];

function figures(name: string, resolution: string): MovedTable {
  return {
    name,
    from: `select * from ${name}`,
    rowOf: (columns) => columns,
    into: `insert into figures (resolution, bucket, function_id, figures)
      select '${resolution}', bucket, function_id, ${bytes("figures")}
      from json_to_recordset($rows::text::json) as row (bucket bigint, function_id text, figures text)`,
  };
}

/** All tables that move, in the order in which they do. Sizes of payloads are in the payloads; totals are made anew. */
export const MOVED_TABLES: readonly MovedTable[] = [...CONFIGURATION, ...LEDGER];

/** Tables whose triggers count what is written, which would take them longer with each row: counted once, at the end. */
export const COUNTING = ["invocations", "payloads", "stored_answers"] as const;
