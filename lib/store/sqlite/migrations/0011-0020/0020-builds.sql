-- Builds of images: the record as JSON, and what the build has printed once it is over.
create table builds (
  number integer primary key autoincrement,
  id text not null unique,
  name text not null,
  status text not null,
  record text not null,
  output text
) strict;

-- An image that was built here stays until then, although no function uses it yet.
alter table pulled_images add column keep_until text;
