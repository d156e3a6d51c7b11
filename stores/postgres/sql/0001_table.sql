-- idemp, schema 1: the table of idempotency keys, its row level security, and the functions that
-- the library calls. `migrate()` runs this file in one transaction; run by hand it is
--
--     psql --single-transaction --set ON_ERROR_STOP=1 --file 0001_table.sql
--
-- For another schema or table, replace "public" and idempotency_keys throughout; both match
-- [a-z_][a-z0-9_]*. The schema has to be there.
--
-- Times are milliseconds since the Unix epoch on this server's clock.

CREATE TABLE "public"."idempotency_keys" (
    lease_until bigint NOT NULL,              -- the lease is live while now < lease_until
    gone_at     bigint NOT NULL,              -- the record is there while now < gone_at
    purge_after bigint NOT NULL,              -- not later than gone_at; see the index below
    tenant      text COLLATE "C" NOT NULL,    -- the first part of the scope
    key         bytea NOT NULL,               -- the other parts and the key, length-framed
    rev         bytea NOT NULL,               -- names this state of the record
    head        bytea NOT NULL,               -- the library's record
    body        bytea NOT NULL,               -- the outcome, or interim state
    CONSTRAINT "idempotency_keys_pkey" PRIMARY KEY (tenant, key)
) WITH (fillfactor = 70);

-- The purge looks here. No other index, and purge_after is written once in the life of a record
-- while gone_at moves: so every update leaves the indexed columns alone, and stays in its page.
CREATE INDEX "idempotency_keys_purge" ON "public"."idempotency_keys" (purge_after);

-- The clock that decides every deadline. It goes on while a transaction waits, unlike now().
CREATE FUNCTION "public"."idempotency_keys_now"() RETURNS bigint
LANGUAGE sql VOLATILE AS
$$ SELECT pg_catalog.floor(pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000)::bigint $$;

-- A statement sees the rows of the tenant in `idemp.tenant`, and no rows where that is not set.
-- The owner of the table is bound, too. Superusers and roles with BYPASSRLS are not.
ALTER TABLE "public"."idempotency_keys" ENABLE ROW LEVEL SECURITY;
ALTER TABLE "public"."idempotency_keys" FORCE ROW LEVEL SECURITY;
CREATE POLICY "idempotency_keys_tenant" ON "public"."idempotency_keys"
    USING (tenant = nullif(pg_catalog.current_setting('idemp.tenant', true), ''))
    WITH CHECK (tenant = nullif(pg_catalog.current_setting('idemp.tenant', true), ''));
-- With `idemp.purge` on it sees what is gone, of every tenant, and can delete that and nothing else.
CREATE POLICY "idempotency_keys_purge" ON "public"."idempotency_keys"
    USING (pg_catalog.current_setting('idemp.purge', true) = 'on'
           AND gone_at <= "public"."idempotency_keys_now"())
    WITH CHECK (false);

-- Compares, then puts: one trip. Reads first, so that a record that is there costs no write.
--
--   in_expect   null: nothing may lie there; else the revision that has to. Sixteen zero bytes
--               match none: that asks only to read.
--   in_rev      the revision of what is put; null: remove.
--   in_durable  true: the commit waits for the disk whatever the server's default; false: it does
--               not wait; null: as the transaction has it.
--
-- won says whether it was put; where not, there_* is what lies there, or null.
CREATE FUNCTION "public"."idempotency_keys_swap"(
    in_tenant text, in_key bytea, in_expect bytea, in_rev bytea,
    in_lease_for bigint, in_keep_for bigint, in_head bytea, in_body bytea, in_durable boolean,
    OUT now_ms bigint, OUT won boolean, OUT there_rev bytea,
    OUT there_lease_until bigint, OUT there_gone_at bigint, OUT there_head bytea, OUT there_body bytea
) LANGUAGE plpgsql VOLATILE SECURITY INVOKER AS
$$
DECLARE
    nil CONSTANT bytea := '\x00000000000000000000000000000000';
    -- Whoever expects a revision will write: it locks the row before it looks at the clock.
    locks boolean := coalesce(in_expect <> nil, false);
    lies boolean;
    stands boolean;
    new_lease_until bigint;
    new_gone_at bigint;
    setting text;
BEGIN
    -- A standby lags behind: what it shows may be long over.
    IF current_setting('transaction_read_only') = 'on' THEN
        RAISE EXCEPTION USING ERRCODE = 'read_only_sql_transaction',
            MESSAGE = 'idempotency keys need a server that can be written';
    END IF;
    IF in_durable AND current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
        setting := set_config('synchronous_commit', 'on', true);
    ELSIF NOT in_durable THEN
        setting := set_config('synchronous_commit', 'off', true);
    END IF;
    setting := set_config('idemp.tenant', in_tenant, true);

    FOR round IN 1..16 LOOP
        IF locks THEN
            SELECT k.rev, k.lease_until, k.gone_at, k.head, k.body
                INTO there_rev, there_lease_until, there_gone_at, there_head, there_body
                FROM "public"."idempotency_keys" k
                WHERE k.tenant = in_tenant AND k.key = in_key FOR NO KEY UPDATE;
        ELSE
            SELECT k.rev, k.lease_until, k.gone_at, k.head, k.body
                INTO there_rev, there_lease_until, there_gone_at, there_head, there_body
                FROM "public"."idempotency_keys" k
                WHERE k.tenant = in_tenant AND k.key = in_key;
        END IF;
        lies := FOUND;
        now_ms := "public"."idempotency_keys_now"();
        stands := lies AND now_ms < there_gone_at;
        won := CASE WHEN in_expect IS NULL THEN NOT stands
                    ELSE stands AND there_rev = in_expect AND in_expect <> nil END;
        IF won AND lies AND NOT locks THEN
            -- It is gone. Whoever else sees that comes here, too: look again with the row locked.
            locks := true;
            CONTINUE;
        END IF;
        IF stands AND NOT won THEN
            RETURN;
        END IF;
        -- Deadlines never move back, save that a lease of zero is over now.
        new_lease_until := now_ms + in_lease_for;
        new_gone_at := now_ms + in_keep_for;
        IF stands THEN
            IF in_lease_for > 0 THEN
                new_lease_until := greatest(new_lease_until, there_lease_until);
            END IF;
            new_gone_at := greatest(new_gone_at, there_gone_at);
        END IF;
        there_rev := NULL; there_lease_until := NULL; there_gone_at := NULL;
        there_head := NULL; there_body := NULL;
        IF NOT won THEN
            RETURN;
        ELSIF NOT lies THEN
            IF in_rev IS NULL THEN
                RETURN;
            END IF;
            INSERT INTO "public"."idempotency_keys" AS k
                (tenant, key, rev, lease_until, gone_at, purge_after, head, body)
                VALUES (in_tenant, in_key, in_rev, new_lease_until, new_gone_at, new_gone_at,
                        in_head, in_body)
                ON CONFLICT DO NOTHING;
            IF FOUND THEN
                IF "public"."idempotency_keys_now"() > now_ms + 5 THEN
                    -- It waited for another transaction that failed: the deadlines count from now.
                    now_ms := "public"."idempotency_keys_now"();
                    new_lease_until := now_ms + in_lease_for;
                    new_gone_at := now_ms + in_keep_for;
                    UPDATE "public"."idempotency_keys" k
                        SET lease_until = new_lease_until,
                            gone_at = new_gone_at,
                            purge_after = new_gone_at
                        WHERE k.tenant = in_tenant AND k.key = in_key;
                END IF;
                RETURN;
            END IF;
            -- Somebody else was faster. The next statement sees what this one did not.
        ELSIF in_rev IS NULL THEN
            DELETE FROM "public"."idempotency_keys" k WHERE k.tenant = in_tenant AND k.key = in_key;
            RETURN;
        ELSE
            UPDATE "public"."idempotency_keys" k
                SET rev = in_rev, head = in_head, body = in_body,
                    lease_until = new_lease_until,
                    gone_at = new_gone_at,
                    purge_after = CASE WHEN in_expect IS NULL THEN new_gone_at
                                       ELSE k.purge_after END
                WHERE k.tenant = in_tenant AND k.key = in_key;
            RETURN;
        END IF;
    END LOOP;
    RAISE EXCEPTION USING ERRCODE = 'serialization_failure',
        MESSAGE = 'the idempotency key kept changing';
END
$$;

-- The same inside a transaction of the caller's. Where another transaction holds the record it
-- waits for at most in_wait_ms; then won is null, nothing was done, and the caller's transaction
-- can go on. The settings of the caller's transaction are as they were afterwards, save that its
-- commit waits for the disk: the outcome is part of it.
CREATE FUNCTION "public"."idempotency_keys_swap_within"(
    in_tenant text, in_key bytea, in_expect bytea, in_rev bytea,
    in_lease_for bigint, in_keep_for bigint, in_head bytea, in_body bytea, in_wait_ms bigint,
    OUT now_ms bigint, OUT won boolean, OUT there_rev bytea,
    OUT there_lease_until bigint, OUT there_gone_at bigint, OUT there_head bytea, OUT there_body bytea
) LANGUAGE plpgsql VOLATILE SECURITY INVOKER AS
$$
DECLARE
    callers_tenant text := coalesce(current_setting('idemp.tenant', true), '');
    callers_wait text := current_setting('lock_timeout');
    setting text;
BEGIN
    setting := set_config('lock_timeout', in_wait_ms::text, true);
    SELECT s.now_ms, s.won, s.there_rev, s.there_lease_until, s.there_gone_at, s.there_head, s.there_body
        INTO now_ms, won, there_rev, there_lease_until, there_gone_at, there_head, there_body
        FROM "public"."idempotency_keys_swap"(in_tenant, in_key, in_expect, in_rev, in_lease_for,
                                              in_keep_for, in_head, in_body, true) s;
    setting := set_config('lock_timeout', callers_wait, true);
    setting := set_config('idemp.tenant', callers_tenant, true);
EXCEPTION WHEN lock_not_available THEN
    -- The block was rolled back, and the settings with it.
    won := NULL;
END
$$;

-- Deletes at most in_limit records that are gone, of all tenants, and says how many. Several may
-- run at once: they pass over what another one, or a new lease, has locked.
CREATE FUNCTION "public"."idempotency_keys_purge"(in_limit bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY INVOKER AS
$$
DECLARE
    -- Once: an index is of no use to a clock that goes on.
    moment bigint := "public"."idempotency_keys_now"();
    callers_purge text := coalesce(current_setting('idemp.purge', true), '');
    purged bigint;
    setting text;
BEGIN
    setting := set_config('idemp.purge', 'on', true);
    DELETE FROM "public"."idempotency_keys" k
        USING (SELECT g.tenant, g.key FROM "public"."idempotency_keys" g
               WHERE g.purge_after <= moment AND g.gone_at <= moment
               ORDER BY g.purge_after LIMIT in_limit FOR UPDATE SKIP LOCKED) gone
        WHERE k.tenant = gone.tenant AND k.key = gone.key;
    GET DIAGNOSTICS purged = ROW_COUNT;
    setting := set_config('idemp.purge', callers_purge, true);
    RETURN purged;
END
$$;

COMMENT ON TABLE "public"."idempotency_keys" IS 'idemp schema 1';
