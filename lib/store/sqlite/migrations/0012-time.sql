-- When the wait of queued work began, in milliseconds since the epoch; null if it waits for a moment that its caller named.
alter table work add column waits_since integer;
create index work_waits on work (waits_since) where state = 'waiting' and waits_since is not null;

-- Host and port of the URL, so that receivers can have their turns; those of older deliveries count as one.
alter table deliveries add column receiver text not null default '';
-- When the first of its attempts was due, in milliseconds since the epoch; they end some time after that.
alter table deliveries add column since integer not null default 0;
update deliveries set since = cast(unixepoch(created_at, 'subsec') * 1000 as integer);

drop index deliveries_waiting;
create index deliveries_waiting on deliveries (receiver, due) where state = 'waiting';
