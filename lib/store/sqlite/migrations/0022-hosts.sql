-- The host names of a route, as a list in JSON; a route that has some has no path of its own, and "//" and its id in the column `path`.
alter table routes add column hosts text not null default '[]';
-- The same by name, so that each host has one route.
create table route_hosts (
  host text primary key not null,
  route_id text not null references routes (id) on delete cascade
) strict, without rowid;

create index route_hosts_by_route on route_hosts (route_id);
