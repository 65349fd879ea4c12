-- Finds the invocations that the end of another one caused. Most have no parent.
create index invocations_by_parent on invocations (parent_id, created_at, id) where parent_id is not null;
