-- What migrations 1 to 29 make of an empty database, as SQLite itself has written it down.

CREATE TABLE settings (
  key text primary key not null,
  value text not null
) strict, without rowid;

CREATE TABLE functions (
  id text primary key not null,
  name text unique,
  image text not null,
  image_id text,
  digest text,
  environment text not null,
  timeout_ms integer not null,
  memory_bytes integer not null,
  cpus real not null,
  pids integer not null,
  created_at text not null,
  updated_at text not null
, max_calls integer not null default 1, max_concurrency integer not null default 0, warm_min integer not null default 0, warm_max integer not null default 10, idle_ttl_ms integer not null default 300000, share_network integer not null default 0, read_only integer not null default 0, version integer not null default 1, entrypoint text, command text, user text, working_dir text, secrets text not null default '[]', context_bytes integer, log_bytes integer, network text not null default 'bridge', sandbox text not null default 'default', runtime text, labels text not null default '{}', retry text not null default
  '{"max_attempts":3,"min_ms":1000,"max_ms":60000,"on":["crash","timeout","non_zero_exit","oom","engine"]}', callback_url text, on_success text, on_failure text, record_bodies integer not null default 0, nofile integer, store_credentials integer not null default 0, volumes text not null default '[]', isolation text not null default 'container', scratch_bytes integer, contract text not null default 'files', contract_reason text not null default 'default', content_type text, output text not null default 'raw', port integer, port_reason text, extra_ports text not null default '[]', ready_path text, boot_timeout_ms integer not null default 60000, idle_timeout_ms integer, concurrency integer not null default 1, idle text, buffer_request integer not null default 0, stream integer not null default 0) strict;

CREATE TABLE routes (
  id text primary key not null,
  path text unique not null,
  function_id text not null references functions (id),
  created_at text not null
, methods text not null default '["POST"]', auth text not null default 'public', cors text, rate_limit text, max_request_bytes integer, version integer, split text, async integer not null default 0, hosts text not null default '[]', event text not null default 'http') strict;

CREATE INDEX routes_by_function on routes (function_id);

CREATE TABLE invocations (
  id text primary key not null,
  function_id text not null,
  route_id text,
  image_id text,
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
  request_bytes integer not null,
  response_bytes integer,
  log_bytes integer not null,
  log_dropped_bytes integer not null,
  created_at text not null,
  finished_at text,
  -- A JSON array of log entries. Last, so that lists never read the pages that hold a long one; in a table of their
  -- own they took twice the time to write.
  logs text
, mode text not null default 'sync', attempts integer not null default 1, priority integer not null default 0, run_at text, version integer, parent_id text, replay_of text, schedule_id text, chain_depth integer not null default 0, callback_url text, key_id text, undelivered text, contract text not null default 'files', boot_ms real, first_byte_ms real, trace_id text, parent_span_id text, trace_flags integer, tracestate text) strict;

CREATE INDEX invocations_by_time on invocations (created_at, id);

CREATE INDEX invocations_by_status on invocations (status, created_at, id);

CREATE TABLE secrets (
  name text primary key not null,
  value text not null,
  bytes integer not null,
  created_at text not null,
  updated_at text not null
) strict;

CREATE TABLE registries (
  host text primary key not null,
  kind text not null,
  username text,
  secret text not null,
  checked_at text,
  created_at text not null,
  updated_at text not null
) strict;

CREATE TABLE versions (
  function_id text not null references functions (id) on delete cascade,
  version integer not null,
  image_id text,
  record text not null,
  created_at text not null,
  primary key (function_id, version)
) strict;

CREATE INDEX versions_by_image on versions (image_id);

CREATE TABLE pulled_images (
  image_id text primary key not null,
  names text not null,
  pulled_at text not null
, keep_until text) strict;

CREATE TABLE keys (
  id text primary key not null,
  name text not null,
  hash text unique not null,
  scopes text not null,
  function_id text references functions (id) on delete cascade,
  created_at text not null,
  expires_at text,
  last_used_at text,
  revoked_at text
) strict;

CREATE INDEX invocations_by_replay on invocations (replay_of) where replay_of is not null;

CREATE TABLE payloads (
  invocation_id text primary key not null references invocations (id) on delete cascade,
  request blob not null,
  -- What request.meta.json said, and which media type the answer has; JSON.
  request_meta text,
  response blob,
  response_meta text
) strict;

CREATE TABLE work (
  invocation_id text primary key not null references invocations (id) on delete cascade,
  function_id text not null,
  state text not null check (state in ('waiting', 'ready', 'leased', 'lost')),
  priority integer not null,
  -- Milliseconds since the epoch, as is the lease.
  due integer not null,
  attempts integer not null,
  lost_attempts integer not null,
  lease_until integer
, waits_since integer) strict, without rowid;

CREATE INDEX work_ready on work (function_id, priority desc, due, invocation_id) where state = 'ready';

CREATE INDEX work_waiting on work (due) where state = 'waiting';

CREATE INDEX work_leased on work (invocation_id) where state = 'leased';

CREATE INDEX work_lost on work (lease_until) where state = 'lost';

CREATE TABLE attempts (
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
  logs text, boot_ms real, first_byte_ms real,
  primary key (invocation_id, attempt)
) strict;

CREATE TABLE deliveries (
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
, receiver text not null default '', since integer not null default 0) strict;

CREATE TABLE schedules (
  id text primary key not null,
  function_id text not null references functions (id) on delete cascade,
  cron text not null,
  timezone text not null,
  body text not null,
  overlap text not null,
  catch_up text not null,
  paused integer not null,
  -- Milliseconds since the epoch. Written together with the invocation of that time, so that no time is run twice.
  last_due integer not null,
  last_invocation_id text,
  created_at text not null,
  updated_at text not null
) strict;

CREATE INDEX schedules_by_function on schedules (function_id);

CREATE TABLE "idempotency_keys" (
  -- The function that the key was sent for, so that two of them can use the same.
  function_id text not null,
  -- The caller's API key, or the public route that the call came by; empty for a call that needed no key.
  owner text not null,
  key text not null,
  request_hash text not null,
  invocation_id text not null,
  created_at integer not null,
  primary key (function_id, owner, key)
) strict, without rowid;

CREATE INDEX idempotency_keys_by_time on idempotency_keys (created_at);

CREATE INDEX invocations_by_end on invocations (finished_at, id) where finished_at is not null;

CREATE TABLE payload_sizes (
  invocation_id text primary key not null references payloads (invocation_id) on delete cascade,
  bytes integer not null,
  -- From when nothing needs the payload any more, in milliseconds since the epoch; null until then.
  settled_at integer
) strict, without rowid;

CREATE INDEX payload_sizes_settled on payload_sizes (settled_at, invocation_id) where settled_at is not null;

CREATE TABLE payload_total (
  id integer primary key check (id = 1),
  bytes integer not null,
  settled_bytes integer not null
) strict;

CREATE TRIGGER payload_sizes_inserted after insert on payload_sizes begin
  update payload_total set bytes = bytes + new.bytes,
    settled_bytes = settled_bytes + iif(new.settled_at is null, 0, new.bytes);
end;

CREATE TRIGGER payload_sizes_updated after update on payload_sizes begin
  update payload_total set bytes = bytes + new.bytes - old.bytes,
    settled_bytes = settled_bytes + iif(new.settled_at is null, 0, new.bytes)
      - iif(old.settled_at is null, 0, old.bytes);
end;

CREATE TRIGGER payload_sizes_deleted after delete on payload_sizes begin
  update payload_total set bytes = bytes - old.bytes,
    settled_bytes = settled_bytes - iif(old.settled_at is null, 0, old.bytes);
end;

CREATE TABLE audit (
  id integer primary key autoincrement,
  at text not null,
  event text not null,
  key_id text,
  address text,
  method text not null,
  path text not null,
  status integer not null
) strict;

CREATE INDEX audit_by_event on audit (event, id);

CREATE INDEX work_waits on work (waits_since) where state = 'waiting' and waits_since is not null;

CREATE INDEX deliveries_waiting on deliveries (receiver, due) where state = 'waiting';

CREATE TABLE stored_answers (
  invocation_id text primary key not null,
  -- The invocation as it was then, as JSON.
  record text not null,
  -- Status and headers of the function's own answer, as JSON, and its body; null if it gave none, or was to come later.
  response_meta text,
  response blob,
  bytes integer not null
) strict;

CREATE TRIGGER stored_answers_inserted after insert on stored_answers begin
  update payload_total set bytes = bytes + new.bytes;
end;

CREATE TRIGGER stored_answers_deleted after delete on stored_answers begin
  update payload_total set bytes = bytes - old.bytes;
end;

CREATE TRIGGER idempotency_keys_deleted after delete on idempotency_keys begin
  delete from stored_answers where invocation_id = old.invocation_id;
end;

CREATE TABLE builds (
  number integer primary key autoincrement,
  id text not null unique,
  name text not null,
  status text not null,
  record text not null,
  output text
) strict;

CREATE TABLE route_hosts (
  host text primary key not null,
  route_id text not null references routes (id) on delete cascade
) strict, without rowid;

CREATE INDEX route_hosts_by_route on route_hosts (route_id);

CREATE TABLE stats_minutes (
  bucket integer not null,
  function_id text not null,
  figures blob not null,
  primary key (bucket, function_id)
) strict, without rowid;

CREATE TABLE stats_hours (
  bucket integer not null,
  function_id text not null,
  figures blob not null,
  primary key (bucket, function_id)
) strict, without rowid;

CREATE INDEX stats_minutes_of_all on stats_minutes (bucket) where function_id = '';

CREATE INDEX stats_hours_of_all on stats_hours (bucket) where function_id = '';

CREATE TABLE stats_sizes (
  resolution text primary key not null,
  rows integer not null,
  bytes integer not null
) strict, without rowid;

CREATE TABLE uncounted (
  invocation_id text primary key not null
) strict, without rowid;

CREATE TABLE stats_backlog (
  before_id text not null
) strict;

CREATE TRIGGER ended_at_once after insert on invocations
when new.finished_at is not null and not exists (select 1 from stats_backlog where new.id < before_id)
begin
  insert or ignore into uncounted (invocation_id) values (new.id);
end;

CREATE TRIGGER ended after update of finished_at on invocations
when old.finished_at is null and new.finished_at is not null and not exists (select 1 from stats_backlog where new.id < before_id)
begin
  insert or ignore into uncounted (invocation_id) values (new.id);
end;

CREATE INDEX invocations_by_function_status on invocations (function_id, status, created_at, id);

CREATE INDEX invocations_by_parent on invocations (parent_id, created_at, id) where parent_id is not null;

insert into payload_total (id, bytes, settled_bytes) values (1, 0, 0);

insert into stats_sizes (resolution, rows, bytes) values ('minute', 0, 0), ('hour', 0, 0);
