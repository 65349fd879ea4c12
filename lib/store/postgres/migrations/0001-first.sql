-- Texts that are compared have the collation "C", so that their order is the same in every database.

-- The configuration: functions, versions, routes, keys, secrets, registries, schedules, settings, images, builds. Servers have
-- it in memory (configuration/mirror.ts) and read here what has changed since a version. Each row is JSON.
create table configuration (
  -- The server that the row belongs to, for what is about its engine; empty for all servers.
  owner text collate "C" not null,
  kind text collate "C" not null,
  id text collate "C" not null,
  -- The change that wrote it.
  version bigint not null,
  -- Null once it is deleted, until all servers have seen that.
  record text,
  primary key (owner, kind, id)
);
create index configuration_by_version on configuration (version);

-- Locked by each change, so that they come one after another.
create table configuration_state (
  id integer primary key check (id = 1),
  version bigint not null,
  -- Deleted rows up to this version are gone: a server that is behind it reads everything.
  forgotten bigint not null,
  -- The schema of the rows, which newer servers raise.
  schema integer not null
);
insert into configuration_state (id, version, forgotten, schema) values (1, 0, 0, 0);

create table invocations (
  id text collate "C" primary key,
  function_id text collate "C" not null,
  status text collate "C" not null,
  mode text collate "C" not null,
  key_id text collate "C",
  replay_of text collate "C",
  parent_id text collate "C",
  undelivered text,
  created_at text collate "C" not null,
  finished_at text collate "C",
  -- The server that wrote it last.
  holder text collate "C" not null,
  -- All fields, as JSON; undelivered and finished_at are above.
  record text not null,
  logs text
);
create index invocations_by_time on invocations (created_at, id);
create index invocations_by_function on invocations (function_id, created_at, id);
create index invocations_by_function_status on invocations (function_id, status, created_at, id);
create index invocations_by_status on invocations (status, created_at, id);
create index invocations_by_end on invocations (finished_at, id) where finished_at is not null;
create index invocations_by_replay on invocations (replay_of) where replay_of is not null;
create index invocations_by_parent on invocations (parent_id, created_at, id) where parent_id is not null;
create index invocations_running on invocations (holder) where status = 'running' and mode = 'sync';

create table attempts (
  invocation_id text collate "C" not null references invocations (id) on delete cascade,
  attempt integer not null,
  record text not null,
  logs text,
  primary key (invocation_id, attempt)
);

create table payloads (
  invocation_id text collate "C" primary key references invocations (id) on delete cascade,
  request bytea not null,
  request_meta text,
  response bytea,
  response_meta text,
  bytes bigint not null,
  -- From when nothing needs the payload any more, in milliseconds since the epoch; null until then.
  settled_at bigint
);
create index payloads_settled on payloads (settled_at, invocation_id) where settled_at is not null;

create table work (
  invocation_id text collate "C" primary key references invocations (id) on delete cascade,
  function_id text collate "C" not null,
  state text collate "C" not null check (state in ('waiting', 'ready', 'leased', 'lost')),
  priority integer not null,
  -- Milliseconds since the epoch, as are the others.
  due bigint not null,
  attempts integer not null,
  lost_attempts integer not null,
  lease_until bigint,
  waits_since bigint,
  -- The server that has the lease.
  holder text collate "C"
);
create index work_ready on work (function_id, priority desc, due, invocation_id) where state = 'ready';
create index work_waiting on work (due) where state = 'waiting';
create index work_leased on work (lease_until) where state = 'leased';
create index work_lost on work (lease_until) where state = 'lost';

create table deliveries (
  invocation_id text collate "C" primary key references invocations (id) on delete cascade,
  receiver text collate "C" not null,
  state text collate "C" not null check (state in ('waiting', 'delivered', 'failed')),
  due bigint not null,
  since bigint not null,
  -- The server that sends it now, and until when nobody else does.
  holder text collate "C",
  held_until bigint,
  -- All fields, as JSON; state, due and since are above.
  record text not null
);
create index deliveries_waiting on deliveries (receiver, due) where state = 'waiting';

create table idempotency_keys (
  function_id text collate "C" not null,
  owner text collate "C" not null,
  key text collate "C" not null,
  request_hash text not null,
  invocation_id text collate "C" not null,
  created_at bigint not null,
  primary key (function_id, owner, key)
);
create index idempotency_keys_by_time on idempotency_keys (created_at);

create table stored_answers (
  invocation_id text collate "C" primary key,
  record text not null,
  response_meta text,
  response bytea,
  bytes bigint not null
);

-- The bytes of payloads and answers. A sum of several rows, one of which each connection writes: so transactions do not wait
-- for each other.
create table payload_totals (
  shard integer primary key,
  bytes bigint not null,
  settled_bytes bigint not null
);
insert into payload_totals select shard, 0, 0 from generate_series(0, 63) as shard;

create function slipway_count_bytes() returns trigger language plpgsql as $$
declare
  more bigint := 0;
  settled bigint := 0;
begin
  if tg_op <> 'INSERT' then
    more := more - old.bytes;
    if tg_argv[0] = 'payload' then
      if old.settled_at is not null then settled := settled - old.bytes; end if;
    end if;
  end if;
  if tg_op <> 'DELETE' then
    more := more + new.bytes;
    if tg_argv[0] = 'payload' then
      if new.settled_at is not null then settled := settled + new.bytes; end if;
    end if;
  end if;
  if more <> 0 or settled <> 0 then
    update payload_totals set bytes = bytes + more, settled_bytes = settled_bytes + settled
    where shard = pg_backend_pid() % 64;
  end if;
  return null;
end $$;
create trigger payloads_counted after insert or update of bytes, settled_at or delete on payloads
  for each row execute function slipway_count_bytes('payload');
create trigger answers_counted after insert or update of bytes or delete on stored_answers
  for each row execute function slipway_count_bytes('answer');

create function slipway_forget_answer() returns trigger language plpgsql as $$
begin
  delete from stored_answers where invocation_id = old.invocation_id;
  return null;
end $$;
create trigger idempotency_keys_deleted after delete on idempotency_keys
  for each row execute function slipway_forget_answer();

create table audit (
  id bigint generated always as identity primary key,
  at text collate "C" not null,
  event text collate "C" not null,
  key_id text collate "C",
  address text,
  method text not null,
  path text not null,
  status integer not null
);
create index audit_by_event on audit (event, id);

-- The figures of calls, by the minute and by the hour of their end (counted from the epoch); the function_id of all calls is ''.
create table figures (
  resolution text collate "C" not null,
  bucket bigint not null,
  function_id text collate "C" not null,
  figures bytea not null,
  primary key (resolution, function_id, bucket)
);
create index figures_by_time on figures (resolution, bucket, function_id);
-- How much the rows of single functions are.
create table figures_sizes (
  resolution text collate "C" primary key,
  rows bigint not null,
  bytes bigint not null
);
insert into figures_sizes values ('minute', 0, 0), ('hour', 0, 0);

-- Calls that have ended and are to be counted.
create table uncounted (
  invocation_id text collate "C" primary key
);
create function slipway_ended() returns trigger language plpgsql as $$
begin
  insert into uncounted (invocation_id) values (new.id) on conflict do nothing;
  return null;
end $$;
create trigger invocations_ended_at_once after insert on invocations
  for each row when (new.finished_at is not null) execute function slipway_ended();
create trigger invocations_ended after update of finished_at on invocations
  for each row when (old.finished_at is null and new.finished_at is not null) execute function slipway_ended();
