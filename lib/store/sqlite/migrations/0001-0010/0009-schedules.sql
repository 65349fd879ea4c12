-- When functions are run by the clock. Booleans are 0 and 1, the body is JSON.
create table schedules (
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

create index schedules_by_function on schedules (function_id);
