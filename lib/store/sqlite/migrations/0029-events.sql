-- The event that a route makes of a request to a function of the contract `lambda`.
alter table routes add column event text not null default 'http';
