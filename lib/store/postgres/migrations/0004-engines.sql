-- The id of each server's engine, as that names itself; null if it is not known, or the server is of an older version.
alter table servers add column engine text;
