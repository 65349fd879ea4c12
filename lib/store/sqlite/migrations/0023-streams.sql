-- Of a call by the contract `http`: the boot of the instance that it was the first call of, and the time to the head of its answer.
alter table invocations add column boot_ms real;
alter table invocations add column first_byte_ms real;
alter table attempts add column boot_ms real;
alter table attempts add column first_byte_ms real;
