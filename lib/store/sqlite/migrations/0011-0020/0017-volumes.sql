-- The named volumes of the engine that a function has: a list of {name, path, read_only}, as JSON.
alter table functions add column volumes text not null default '[]';
