-- Who changed what, and whose key was refused.
create table audit (
  id integer primary key autoincrement,
  at text not null,
  event text not null,
  key_id text,
  address text,
  method text not null,
  path text not null,
  status integer not null
) strict;

create index audit_by_event on audit (event, id);
