-- The key that a call came with: a key may act on its own invocations only.
alter table invocations add column key_id text;

-- An Idempotency-Key belongs to its caller. Otherwise a stranger on a public route could use up the keys of others.
create table owned_idempotency_keys (
  -- The function that the key was sent for, so that two of them can use the same.
  function_id text not null,
  -- The caller's API key, or the public route that the call came by; empty for a call that needed no key.
  owner text not null,
  key text not null,
  request_hash text not null,
  invocation_id text not null,
  created_at integer not null,
  primary key (function_id, owner, key)
) strict, without rowid;

insert into owned_idempotency_keys
  select old.function_id, coalesce('route ' || route_id, ''), key, request_hash, invocation_id, old.created_at
  from idempotency_keys as old left join invocations on invocations.id = old.invocation_id;

drop table idempotency_keys;
alter table owned_idempotency_keys rename to idempotency_keys;
create index idempotency_keys_by_time on idempotency_keys (created_at);
