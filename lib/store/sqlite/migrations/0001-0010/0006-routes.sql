-- What a route does beyond leading to a function; lists and objects are JSON.
alter table routes add column methods text not null default '["POST"]';
alter table routes add column auth text not null default 'public';
alter table routes add column cors text;
alter table routes add column rate_limit text;
alter table routes add column max_request_bytes integer;
alter table routes add column version integer;
alter table routes add column split text;
