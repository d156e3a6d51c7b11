-- One question and its answer, in one trip. See 0001_table.sql for what the parameters are,
-- and claim.sql for what may stand behind /* first */.
SELECT (answer).now_ms, (answer).won, (answer).there_rev, (answer).there_lease_until, (answer).there_gone_at, (answer).there_head, (answer).there_body
FROM (SELECT /* first */ "public"."idempotency_keys_swap"($1::text, $2::bytea, $3::bytea, $4::bytea, $5::bigint, $6::bigint, $7::bytea, $8::bytea, $9::boolean) AS answer OFFSET 0) one
