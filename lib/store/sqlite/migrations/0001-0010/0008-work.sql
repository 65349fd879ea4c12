-- How a function's asynchronous invocations are tried, and what follows from them.
alter table functions add column retry text not null default
  '{"max_attempts":3,"min_ms":1000,"max_ms":60000,"on":["crash","timeout","non_zero_exit","oom","engine"]}';
alter table functions add column callback_url text;
-- No foreign keys: a manifest may write functions that name each other in any order.
alter table functions add column on_success text;
alter table functions add column on_failure text;
alter table functions add column record_bodies integer not null default 0;

-- Asynchronous invocations: what their records tell beyond those of synchronous ones.
alter table invocations add column mode text not null default 'sync';
alter table invocations add column attempts integer not null default 1;
alter table invocations add column priority integer not null default 0;
alter table invocations add column run_at text;
alter table invocations add column version integer;
alter table invocations add column parent_id text;
alter table invocations add column replay_of text;
alter table invocations add column schedule_id text;
alter table invocations add column chain_depth integer not null default 0;
alter table invocations add column callback_url text;

create index invocations_by_replay on invocations (replay_of) where replay_of is not null;

-- Requests and results that are kept: of asynchronous invocations, and of synchronous ones where the function says so.
create table payloads (
  invocation_id text primary key not null references invocations (id) on delete cascade,
  request blob not null,
  -- What request.meta.json said, and which media type the answer has; JSON.
  request_meta text,
  response blob,
  response_meta text
) strict;

-- What is left to do. `waiting` is due later, `ready` now, `leased` is being done, `lost` was: its attempt ended with
-- the server or the engine, and nobody knows yet whether its function runs on.
create table work (
  invocation_id text primary key not null references invocations (id) on delete cascade,
  function_id text not null,
  state text not null check (state in ('waiting', 'ready', 'leased', 'lost')),
  priority integer not null,
  -- Milliseconds since the epoch, as is the lease.
  due integer not null,
  attempts integer not null,
  lost_attempts integer not null,
  lease_until integer
) strict, without rowid;

create index work_ready on work (function_id, priority desc, due, invocation_id) where state = 'ready';
create index work_waiting on work (due) where state = 'waiting';
create index work_leased on work (invocation_id) where state = 'leased';
create index work_lost on work (lease_until) where state = 'lost';

-- One row for each attempt at an asynchronous invocation.
create table attempts (
  invocation_id text not null references invocations (id) on delete cascade,
  attempt integer not null,
  status text not null,
  reason text,
  message text,
  exit_code integer,
  signal integer,
  start text,
  queue_ms real,
  start_ms real,
  run_ms real,
  cpu_ms real,
  peak_memory_bytes integer,
  response_bytes integer,
  log_bytes integer not null,
  log_dropped_bytes integer not null,
  started_at text not null,
  finished_at text,
  logs text,
  primary key (invocation_id, attempt)
) strict;

-- Results that are to be sent to someone.
create table deliveries (
  invocation_id text primary key not null references invocations (id) on delete cascade,
  url text not null,
  state text not null check (state in ('waiting', 'delivered', 'failed')),
  -- When the next attempt is due, in milliseconds since the epoch.
  due integer not null,
  attempts integer not null,
  last_status integer,
  last_problem text,
  created_at text not null,
  delivered_at text
) strict;

create index deliveries_waiting on deliveries (due) where state = 'waiting';

-- Submissions that came with an Idempotency-Key, for 24 hours.
create table idempotency_keys (
  -- The function that the key was sent for, so that two of them can use the same.
  function_id text not null,
  key text not null,
  request_hash text not null,
  invocation_id text not null,
  created_at integer not null,
  primary key (function_id, key)
) strict, without rowid;

create index idempotency_keys_by_time on idempotency_keys (created_at);
