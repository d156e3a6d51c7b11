-- A question that expects nothing and puts something, in one trip: it reads, and calls a function
-- only where no record is there. The parameters are those of swap.sql without the third, which is
-- null; the answer is the same.
--
-- The tenant is set before the row is looked for: the join needs it. Were it not, this would see
-- nothing, and the function finds what is there.
--
-- A client that cannot set its connections puts a setting of this statement alone behind /* first */,
-- such as pg_catalog.set_config('lock_timeout', '1000', true) AS lock_timeout, with its comma.
SELECT (answer).now_ms, (answer).won, (answer).there_rev, (answer).there_lease_until, (answer).there_gone_at, (answer).there_head, (answer).there_body
FROM (SELECT CASE
WHEN asked.now_ms < k.gone_at AND pg_catalog.current_setting('transaction_read_only') = 'off'
THEN ROW(asked.now_ms, false, k.rev, k.lease_until, k.gone_at, k.head, k.body)::"public"."idempotency_keys_answer"
WHEN k.rev IS NULL THEN "public"."idempotency_keys_put"($1::text, $2::bytea, $3::bytea, $4::bigint, $5::bigint, $6::bytea, $7::bytea, $8::boolean)
ELSE "public"."idempotency_keys_swap"($1::text, $2::bytea, NULL, $3::bytea, $4::bigint, $5::bigint, $6::bytea, $7::bytea, $8::boolean)
END AS answer
FROM (SELECT /* first */ pg_catalog.set_config('idemp.tenant', $1::text, true) AS tenant, "public"."idempotency_keys_now"() AS now_ms OFFSET 0) asked
LEFT JOIN "public"."idempotency_keys" k ON k.tenant = asked.tenant AND k.key = $2::bytea
OFFSET 0) one
