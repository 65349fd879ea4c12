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

-- Whether what is stored of a call has its caller's credentials.
alter table functions add column store_credentials integer not null default 0;

-- What the first request with an Idempotency-Key was answered, for as long as the key is remembered.
create table stored_answers (
  invocation_id text primary key not null,
  -- The invocation as it was then, as JSON.
  record text not null,
  -- Status and headers of the function's own answer, as JSON, and its body; null if it gave none, or was to come later.
  response_meta text,
  response blob,
  bytes integer not null
) strict;

-- They count as payloads that something needs.
create trigger stored_answers_inserted after insert on stored_answers begin
  update payload_total set bytes = bytes + new.bytes;
end;

create trigger stored_answers_deleted after delete on stored_answers begin
  update payload_total set bytes = bytes - old.bytes;
end;

create trigger idempotency_keys_deleted after delete on idempotency_keys begin
  delete from stored_answers where invocation_id = old.invocation_id;
end;
