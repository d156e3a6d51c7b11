-- The first half of an outcome inside the caller's transaction, in one trip. The answer is null where
-- somebody else's transaction has the lock. See 0001_table.sql for what the parameters are, and how to read
-- it.
SELECT "public"."idempotency_keys_lock_within"($1::text, $2::bytea, $3::bytea, $4::text) AS answer
