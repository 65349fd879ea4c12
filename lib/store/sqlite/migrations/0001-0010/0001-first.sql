create table settings (
  key text primary key not null,
  value text not null
) strict, without rowid;

create table functions (
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
) strict;

create table routes (
  id text primary key not null,
  path text unique not null,
  function_id text not null references functions (id),
  created_at text not null
) strict;

create index routes_by_function on routes (function_id);

-- No foreign keys to functions and routes: history outlives them.
create table invocations (
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
) strict;

-- The order of every list is (created_at, id), newest first.
create index invocations_by_time on invocations (created_at, id);
create index invocations_by_function on invocations (function_id, created_at, id);
create index invocations_by_status on invocations (status, created_at, id);
