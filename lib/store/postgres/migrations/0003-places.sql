-- True once another server has been asked to cancel the invocation, which the server that attempts it sees.
alter table work add column cancelled boolean not null default false;
