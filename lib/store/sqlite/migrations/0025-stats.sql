-- The figures of calls, by the minute and by the hour of their end (counted from the epoch); the function_id of all calls is ''.
create table stats_minutes (
  bucket integer not null,
  function_id text not null,
  figures blob not null,
  primary key (bucket, function_id)
) strict, without rowid;
create table stats_hours (
  bucket integer not null,
  function_id text not null,
  figures blob not null,
  primary key (bucket, function_id)
) strict, without rowid;
-- Finds the buckets that there are among the rows of all functions.
create index stats_minutes_of_all on stats_minutes (bucket) where function_id = '';
create index stats_hours_of_all on stats_hours (bucket) where function_id = '';
-- How much the rows of single functions are: to count them takes too long.
create table stats_sizes (
  resolution text primary key not null,
  rows integer not null,
  bytes integer not null
) strict, without rowid;
insert into stats_sizes (resolution, rows, bytes) values ('minute', 0, 0), ('hour', 0, 0);
-- Calls that have ended and are to be counted.
create table uncounted (
  invocation_id text primary key not null
) strict, without rowid;
-- While there is a row, invocations with a lower id are to be counted, too: those from before there were figures.
create table stats_backlog (
  before_id text not null
) strict;
insert into stats_backlog (before_id) select id || '~' from invocations order by id desc limit 1;
create trigger ended_at_once after insert on invocations
when new.finished_at is not null and not exists (select 1 from stats_backlog where new.id < before_id)
begin
  insert or ignore into uncounted (invocation_id) values (new.id);
end;
create trigger ended after update of finished_at on invocations
when old.finished_at is null and new.finished_at is not null and not exists (select 1 from stats_backlog where new.id < before_id)
begin
  insert or ignore into uncounted (invocation_id) values (new.id);
end;
