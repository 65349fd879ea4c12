-- Settings for production; lists and maps are JSON.
alter table functions add column version integer not null default 1;
alter table functions add column entrypoint text;
alter table functions add column command text;
alter table functions add column user text;
alter table functions add column working_dir text;
alter table functions add column secrets text not null default '[]';
alter table functions add column context_bytes integer;
alter table functions add column log_bytes integer;
alter table functions add column network text not null default 'bridge';
alter table functions add column sandbox text not null default 'default';
alter table functions add column runtime text;
alter table functions add column labels text not null default '{}';
