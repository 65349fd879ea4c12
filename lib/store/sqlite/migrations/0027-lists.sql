-- The calls of one function with one status, in order. It takes the place of the index by function alone: a list of all statuses
-- merges theirs, and the index of a status alone would be searched for the few of one function.
create index invocations_by_function_status on invocations (function_id, status, created_at, id);
drop index invocations_by_function;
