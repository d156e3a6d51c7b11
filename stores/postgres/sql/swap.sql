-- One question and its answer, in one trip. See 0001_table.sql for what the parameters are, and how
-- to read the answer.
--
-- A client that cannot set its connections puts a setting of this statement alone behind /* first */,
-- such as pg_catalog.set_config('lock_timeout', '1000', true) AS lock_timeout, with its comma. The
-- answer is the last column.
SELECT /* first */ "public"."idempotency_keys_swap"($1::text, $2::bytea, $3::bytea, $4::bytea, $5::interval, $6::interval, $7::bytea, $8::bytea, $9::text) AS answer
