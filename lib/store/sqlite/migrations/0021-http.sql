-- Of the contract `http`: the port that the function listens on, null for other contracts; what named it; and the other ports that
-- must listen before it gets a call, as a list in JSON.
alter table functions add column port integer;
alter table functions add column port_reason text;
alter table functions add column extra_ports text not null default '[]';
-- The path that says that it is ready; null for none.
alter table functions add column ready_path text;
-- The time that it has until it is ready, and the longest silence in a call, null for no limit; both in milliseconds.
alter table functions add column boot_timeout_ms integer not null default 60000;
alter table functions add column idle_timeout_ms integer;
-- The calls that an instance serves at once; `freeze` or `run` between two calls, null for the default; and whether bodies of unknown
-- length are taken in first.
alter table functions add column concurrency integer not null default 1;
alter table functions add column idle text;
alter table functions add column buffer_request integer not null default 0;
