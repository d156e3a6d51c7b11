-- A question that expects nothing and puts something, in one trip: it reads, and calls a function
-- only where no record is there. Parameters and answer are those of swap.sql; the third is null.
--
-- The scan needs the tenant that it is set by. Whatever plan there is, what is not seen here the
-- function finds.
SELECT /* first */ coalesce(
(SELECT CASE WHEN one.now_ms < one.gone_at AND pg_catalog.current_setting('transaction_read_only') = 'off'
THEN pg_catalog.array_send(ARRAY[pg_catalog.int8send(one.now_ms), pg_catalog.int8send(one.lease_until), pg_catalog.int8send(one.gone_at), one.rev, one.head, one.body]) END
FROM (SELECT "public"."idempotency_keys_now"() AS now_ms, k.lease_until, k.gone_at, k.rev, k.head, k.body FROM "public"."idempotency_keys" k
WHERE k.tenant = (SELECT pg_catalog.set_config('idemp.tenant', $1::text, true)) AND k.key = $2::bytea OFFSET 0) one),
"public"."idempotency_keys_put"($1::text, $2::bytea, $3::bytea, $4::bytea, $5::bigint, $6::bigint, $7::bytea, $8::bytea, $9::boolean)) AS answer
