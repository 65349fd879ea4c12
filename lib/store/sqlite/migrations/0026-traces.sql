-- The place of an invocation in a trace (W3C Trace Context), so that attempts, callbacks and followers keep to it.
alter table invocations add column trace_id text;
alter table invocations add column parent_span_id text;
alter table invocations add column trace_flags integer;
alter table invocations add column tracestate text;
