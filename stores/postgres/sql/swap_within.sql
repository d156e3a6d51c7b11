-- One question inside the caller's transaction, in one trip. won is null where somebody else's
-- transaction holds the record. See 0001_table.sql for what the parameters are.
SELECT (answer).now_ms, (answer).won, (answer).there_rev, (answer).there_lease_until, (answer).there_gone_at, (answer).there_head, (answer).there_body
FROM (SELECT "public"."idempotency_keys_swap_within"($1::text, $2::bytea, $3::bytea, $4::bytea, $5::bigint, $6::bigint, $7::bytea, $8::bytea, $9::bigint, $10::boolean) AS answer OFFSET 0) one
