-- What each call gets fresh: `container`, `cell` or `process`. More than one call of a container was a fresh process until now.
alter table functions add column isolation text not null default 'container';
update functions set isolation = 'process' where max_calls <> 1;
-- The size of a cell's scratch space in bytes; null for the default.
alter table functions add column scratch_bytes integer;
