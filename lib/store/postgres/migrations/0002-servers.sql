-- The servers that use the database, as they report themselves. Nothing but the routing of calls and the shares of limits depends on it.
create table servers (
  id text collate "C" primary key,
  -- The process: a server that starts again is another one.
  epoch text not null,
  -- The address at which the others reach it; null for one that takes no calls of others.
  url text,
  version text not null,
  -- The database's time of its last report, in milliseconds since the epoch.
  heartbeat bigint not null,
  -- The calls that its ready instances could serve at once, by function and version (`ID@VERSION`).
  places jsonb not null
) with (fillfactor = 50);
