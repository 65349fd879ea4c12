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

-- What functions are now is their first version.
insert into versions (function_id, version, image_id, record, created_at)
select id, version, image_id, json_object(
  'id', id, 'name', name, 'image', image, 'image_id', image_id, 'digest', digest,
  'environment', json(environment),
  'entrypoint', json(entrypoint), 'command', json(command), 'user', user, 'working_dir', working_dir,
  'secrets', json(secrets),
  'timeout_ms', timeout_ms, 'memory_bytes', memory_bytes, 'cpus', cpus, 'pids', pids,
  'context_bytes', context_bytes, 'log_bytes', log_bytes,
  'network', network, 'share_network', json(iif(share_network, 'true', 'false')),
  'sandbox', sandbox, 'runtime', runtime, 'read_only', json(iif(read_only, 'true', 'false')),
  'labels', json(labels),
  'max_calls', max_calls, 'max_concurrency', max_concurrency,
  'warm_min', warm_min, 'warm_max', warm_max, 'idle_ttl_ms', idle_ttl_ms,
  'version', version, 'created_at', created_at, 'updated_at', updated_at
), updated_at
from functions;

-- Images that this server pulled, with the names (tags and digests) that its pulls gave them, a JSON array: only those
-- may it remove.
create table pulled_images (
  image_id text primary key not null,
  names text not null,
  pulled_at text not null
) strict;
