-- Every version of a function, whole, as JSON; none is ever changed.
create table versions (
  function_id text not null references functions (id) on delete cascade,
  version integer not null,
  image_id text,
  record text not null,
  created_at text not null,
  primary key (function_id, version)
) strict;

create index versions_by_image on versions (image_id);

-- Images that this server pulled: only those may it remove.
create table pulled_images (
  image_id text primary key not null,
  pulled_at text not null
) strict;
