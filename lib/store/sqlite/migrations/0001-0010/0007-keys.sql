-- API keys with scopes. The hash is SHA-256 in hex.
create table keys (
  id text primary key not null,
  name text not null,
  hash text unique not null,
  scopes text not null,
  function_id text references functions (id) on delete cascade,
  created_at text not null,
  expires_at text,
  last_used_at text,
  revoked_at text
) strict;
