-- Retention counts from the end of an invocation.
create index invocations_by_end on invocations (finished_at, id) where finished_at is not null;

-- Whether a route takes asynchronous calls. Public ones no longer do unless their owner says so.
alter table routes add column async integer not null default 0;
update routes set async = 1 where auth = 'key';

-- The size of each payload, in a table of its own: a payload that is written again is written with its bodies.
create table payload_sizes (
  invocation_id text primary key not null references payloads (invocation_id) on delete cascade,
  bytes integer not null,
  -- From when nothing needs the payload any more, in milliseconds since the epoch; null until then.
  settled_at integer
) strict, without rowid;

create index payload_sizes_settled on payload_sizes (settled_at, invocation_id) where settled_at is not null;

-- The sums of `payload_sizes`, in one row: of all, and of those that are settled.
create table payload_total (
  id integer primary key check (id = 1),
  bytes integer not null,
  settled_bytes integer not null
) strict;

insert into payload_sizes (invocation_id, bytes, settled_at)
  select payloads.invocation_id,
    -- These lengths are in the head of a row: no body is read.
    octet_length(request) + coalesce(octet_length(request_meta), 0)
      + coalesce(octet_length(response), 0) + coalesce(octet_length(response_meta), 0),
    case when finished_at is not null
      and not exists (
        select 1 from deliveries where deliveries.invocation_id = payloads.invocation_id and state = 'waiting')
      then cast(unixepoch(finished_at, 'subsec') * 1000 as integer) end
  from payloads join invocations on invocations.id = payloads.invocation_id;

insert into payload_total (id, bytes, settled_bytes)
  select 1, coalesce(sum(bytes), 0), coalesce(sum(bytes) filter (where settled_at is not null), 0) from payload_sizes;

create trigger payload_sizes_inserted after insert on payload_sizes begin
  update payload_total set bytes = bytes + new.bytes,
    settled_bytes = settled_bytes + iif(new.settled_at is null, 0, new.bytes);
end;

create trigger payload_sizes_updated after update on payload_sizes begin
  update payload_total set bytes = bytes + new.bytes - old.bytes,
    settled_bytes = settled_bytes + iif(new.settled_at is null, 0, new.bytes)
      - iif(old.settled_at is null, 0, old.bytes);
end;

create trigger payload_sizes_deleted after delete on payload_sizes begin
  update payload_total set bytes = bytes - old.bytes,
    settled_bytes = settled_bytes - iif(old.settled_at is null, 0, old.bytes);
end;
