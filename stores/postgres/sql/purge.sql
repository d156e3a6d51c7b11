-- Deletes at most so many records that are gone, of all tenants, and says how many.
SELECT "public"."idempotency_keys_purge"($1::bigint)
