-- Values are sealed (lib/services/vault.ts); `bytes` is how many they have in the clear.
create table secrets (
  name text primary key not null,
  value text not null,
  bytes integer not null,
  created_at text not null,
  updated_at text not null
) strict;

-- Credentials of registries, kept as secrets are.
create table registries (
  host text primary key not null,
  username text not null,
  password text not null,
  created_at text not null,
  updated_at text not null
) strict;
