-- How a function's instances are kept and shared; booleans are 0 and 1.
alter table functions add column max_calls integer not null default 1;
alter table functions add column max_concurrency integer not null default 0;
alter table functions add column warm_min integer not null default 0;
alter table functions add column warm_max integer not null default 10;
alter table functions add column idle_ttl_ms integer not null default 300000;
alter table functions add column share_network integer not null default 0;
alter table functions add column read_only integer not null default 0;
