-- A question that expects nothing and puts something, in one trip: it reads, and calls a function
-- only where no record is there. Parameters are those of swap.sql without the third.
--
-- Where the answer, the last column, is null a record is there, and the columns before it are the time,
-- lease_until, gone_at, rev, head and body. Else it is as that of swap.sql. The time is no whole number of
-- milliseconds: round it, half of one up. A client that reads columns as text puts
-- pg_catalog.timestamptz_send in place of each /* as bytes */.
--
-- The scan needs the tenant that the same statement sets. Whatever plan there is, what is not seen here
-- the function finds.
SELECT /* first */
/* as bytes */("public"."idempotency_keys_now"()) AS now_at, /* as bytes */(k.lease_until) AS lease_until, /* as bytes */(k.gone_at) AS gone_at, k.rev, k.head, k.body,
CASE WHEN "public"."idempotency_keys_now"() < k.gone_at AND pg_catalog.current_setting('transaction_read_only') = 'off' THEN NULL
ELSE "public"."idempotency_keys_put"(t.tenant, $2::bytea, $3::bytea, $4::interval, $5::interval, $6::bytea, $7::bytea, $8::text) END AS answer
FROM (SELECT pg_catalog.set_config('idemp.tenant', $1::text, true) AS tenant OFFSET 0) t
LEFT JOIN "public"."idempotency_keys" k ON k.tenant = t.tenant AND k.key = $2::bytea
