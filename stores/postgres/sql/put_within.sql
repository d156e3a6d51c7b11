-- The second half of an outcome inside the caller's transaction, where nothing lay before, in one trip. It
-- fails with unique_violation where something lies there by now. See 0001_table.sql for what the parameters
-- are, and how to read the answer.
SELECT "public"."idempotency_keys_put_within"($1::text, $2::bytea, $3::bytea, $4::interval, $5::bytea, $6::bytea, $7::text) AS answer
