-- From here on `payloads.request_meta` is {method, url, headers, via} and `payloads.response_meta` {status, headers}, the
-- same for every contract. Older rows stay as they are and are read in both forms: writing them again would write their
-- bodies again, too, while the server starts. The number keeps an older server, which knows one form, from this database.
select 1;
