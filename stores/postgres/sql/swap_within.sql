-- One question inside the caller's transaction, in one trip. The answer is null where somebody else's
-- transaction holds the record. See 0001_table.sql for what the parameters are, and how to read it.
SELECT "public"."idempotency_keys_swap_within"($1::text, $2::bytea, $3::bytea, $4::bytea, $5::interval, $6::interval, $7::bytea, $8::bytea, $9::text, $10::boolean) AS answer
