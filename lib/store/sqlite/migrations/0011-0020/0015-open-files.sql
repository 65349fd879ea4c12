-- The most files that a process of a function may have open; null for the default.
alter table functions add column nofile integer;
