-- Of the contract `stdio`: whether an answer is sent from its first byte on.
alter table functions add column stream integer not null default 0;
