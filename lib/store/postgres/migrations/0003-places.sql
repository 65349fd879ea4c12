-- True once another server has been asked to cancel the invocation, which the server that attempts it sees.
alter table work add column cancelled boolean not null default false;

-- The places of functions with a max_concurrency that servers have, and until when they have them.
create table places (
  function_id text collate "C" not null,
  server text collate "C" not null,
  n integer not null,
  -- Milliseconds since the epoch: no call of that server that had a place before runs any more.
  lease_until bigint not null,
  primary key (function_id, server)
) with (fillfactor = 50);

-- Sets the places of a server, as far as the others leave so many; it keeps those that it had. Each statement sees what was there when
-- it began: so the lock comes first.
create function slipway_set_places(fn text, me text, asked integer, most integer, at bigint, until bigint)
returns integer language plpgsql as $$
declare
  others integer;
  own integer;
  given integer;
begin
  perform pg_advisory_xact_lock(1397509456, hashtext(fn));
  select coalesce(sum(n) filter (where server <> me and lease_until > at), 0), coalesce(sum(n) filter (where server = me), 0)
    into others, own from places where function_id = fn;
  given := least(asked, greatest(own, most - others));
  if given <= 0 then
    delete from places where function_id = fn and server = me;
    return 0;
  end if;
  insert into places (function_id, server, n, lease_until) values (fn, me, given, until)
    on conflict (function_id, server) do update set n = excluded.n, lease_until = greatest(places.lease_until, excluded.lease_until);
  return given;
end $$;
