-- The way in which a function is spoken to, and what chose it: its setting, its image's label, or nothing.
alter table functions add column contract text not null default 'files';
alter table functions add column contract_reason text not null default 'default';
-- Of the contract `stdio`: the content type of the output, null for none of its own; and the form of the output, `raw` or `cgi`.
alter table functions add column content_type text;
alter table functions add column output text not null default 'raw';
-- The contract by which the function of an invocation was called.
alter table invocations add column contract text not null default 'files';
