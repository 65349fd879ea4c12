-- Values are sealed (lib/services/secrets/vault.ts); `bytes` is how many they have in the clear.
create table secrets (
  name text primary key not null,
  value text not null,
  bytes integer not null,
  created_at text not null,
  updated_at text not null
) strict;

-- Credentials of registries, kept as secrets are: `secret` is a password or an identity token, as `kind` says.
create table registries (
  host text primary key not null,
  kind text not null,
  username text,
  secret text not null,
  checked_at text,
  created_at text not null,
  updated_at text not null
) strict;
