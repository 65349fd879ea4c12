-- Why a function's answer did not reach its caller; null if it did, as far as the server knows.
alter table invocations add column undelivered text;
