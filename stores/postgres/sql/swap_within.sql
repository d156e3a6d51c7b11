-- One question inside the caller's transaction, in one trip. won is null where somebody else's
-- transaction holds the record. See 0001_table.sql for what the parameters are.
SELECT now_ms, won, there_rev, there_lease_until, there_gone_at, there_head, there_body
FROM "public"."idempotency_keys_swap_within"($1::text, $2::bytea, $3::bytea, $4::bytea, $5::bigint, $6::bigint, $7::bytea, $8::bytea, $9::bigint, $10::boolean)
