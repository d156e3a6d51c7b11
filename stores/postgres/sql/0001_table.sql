-- idemp, schema 1: the table of idempotency keys, its row level security, and the functions that
-- the library calls. `migrate()` runs this file in one transaction; run by hand it is
--
--     psql --single-transaction --set ON_ERROR_STOP=1 --file 0001_table.sql
--
-- For another schema or table, replace "public" and idempotency_keys throughout; both match
-- [a-z_][a-z0-9_]*. The schema has to be there.
--
-- Times are whole milliseconds on this server's clock.

-- A table that was made is there, also where what is put in it may be lost with the server.
SELECT pg_catalog.set_config('synchronous_commit', 'on', true)
    WHERE pg_catalog.current_setting('synchronous_commit') = 'off';

-- The key is first in the primary key because it tells records apart at the first comparison. The tenant
-- is a part of it, or an insert would tell a tenant which keys another one has.
CREATE TABLE "public"."idempotency_keys" (
    lease_until timestamptz NOT NULL,         -- the lease is live while now < lease_until
    gone_at     timestamptz NOT NULL,         -- the record is there while now < gone_at
    purge_after timestamptz NOT NULL,         -- not later than gone_at; see the index below
    tenant      text COLLATE "C" NOT NULL,    -- the first part of the scope
    key         bytea NOT NULL,               -- the other parts and the key, length-framed
    rev         bytea NOT NULL,               -- names this state of the record
    head        bytea NOT NULL,               -- the library's record
    body        bytea NOT NULL,               -- the outcome, or interim state
    CONSTRAINT "idempotency_keys_pkey" PRIMARY KEY (key, tenant)
) WITH (fillfactor = 70);

-- The purge looks here. No other index, and purge_after is written once in the life of a record
-- while gone_at moves: so every update leaves the indexed columns alone, and stays in its page.
CREATE INDEX "idempotency_keys_purge" ON "public"."idempotency_keys" (purge_after);

-- The clock that decides every deadline. It goes on while a transaction waits, unlike now(). Whoever
-- compares with it or stores it rounds it to milliseconds, timestamptz(3), as the library does.
CREATE FUNCTION "public"."idempotency_keys_now"() RETURNS timestamptz
LANGUAGE sql VOLATILE AS
$$ SELECT pg_catalog.clock_timestamp() $$;

-- A statement sees the rows of the tenant in `idemp.tenant`, and no rows where that is not set.
-- The owner of the table is bound, too. Superusers and roles with BYPASSRLS are not.
ALTER TABLE "public"."idempotency_keys" ENABLE ROW LEVEL SECURITY;
ALTER TABLE "public"."idempotency_keys" FORCE ROW LEVEL SECURITY;
-- With `idemp.purge` on it sees what is gone, of every tenant, and can delete that and nothing else.
-- One call of a function that is not inlined: every statement of a tenant prepares this, too, and
-- then never comes to it.
CREATE FUNCTION "public"."idempotency_keys_purges"(in_gone_at timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY INVOKER AS
$$
BEGIN
    RETURN pg_catalog.current_setting('idemp.purge', true) = 'on' AND in_gone_at <= "public"."idempotency_keys_now"();
END
$$;
-- A setting that was made for a transaction is empty after it, where it was not there before. No row
-- has an empty tenant, since none can be put.
CREATE POLICY "idempotency_keys_select" ON "public"."idempotency_keys" FOR SELECT USING (
    tenant = pg_catalog.current_setting('idemp.tenant', true)
    OR "public"."idempotency_keys_purges"(gone_at));
CREATE POLICY "idempotency_keys_insert" ON "public"."idempotency_keys" FOR INSERT
    WITH CHECK (tenant = nullif(pg_catalog.current_setting('idemp.tenant', true), ''));
CREATE POLICY "idempotency_keys_update" ON "public"."idempotency_keys" FOR UPDATE USING (
    tenant = pg_catalog.current_setting('idemp.tenant', true)
    OR "public"."idempotency_keys_purges"(gone_at))
    WITH CHECK (tenant = nullif(pg_catalog.current_setting('idemp.tenant', true), ''));
CREATE POLICY "idempotency_keys_delete" ON "public"."idempotency_keys" FOR DELETE USING (
    tenant = pg_catalog.current_setting('idemp.tenant', true)
    OR "public"."idempotency_keys_purges"(gone_at));

-- Compares, then puts: one trip. A question that expects nothing reads first, so that a record that
-- is there costs no write.
--
--   in_expect   null: nothing may lie there; else the revision that has to. Sixteen zero bytes
--               match none: that asks only to read.
--   in_rev      the revision of what is put; null: remove.
--   in_commit   on: the commit waits for the disk whatever the server's default; off: it does not
--               wait; null: as the transaction has it.
--
-- The answer is one value, since a row of them takes as long as the rest:
--
--   8 bytes     it was put; the time, as timestamptz_send writes it: microseconds since 2000-01-01
--   9 bytes     it was not, and nothing lies there; the time, and a zero byte
--   longer      it was not; what array_send writes of time, lease_until, gone_at (each as
--               timestamptz_send writes it), rev, head and body, which lie there
CREATE FUNCTION "public"."idempotency_keys_swap"(
    in_tenant text, in_key bytea, in_expect bytea, in_rev bytea,
    in_lease_for interval, in_keep_for interval, in_head bytea, in_body bytea, in_commit text
) RETURNS bytea
LANGUAGE plpgsql VOLATILE SECURITY INVOKER AS
$$
DECLARE
    gone_and_locked boolean;    -- null: not yet
    came_meanwhile boolean;     -- null: no
    rounds integer;             -- null: none
    setting text;
    now_at timestamptz;
    later_at timestamptz;
    there_rev bytea;
    there_lease_until timestamptz;
    there_gone_at timestamptz;
    there_head bytea;
    there_body bytea;
BEGIN
    -- Each expression is prepared anew in each transaction: the usual ways through come to few.
    setting := set_config('idemp.tenant', in_tenant, true);
    LOOP
        IF in_expect <> '\x00000000000000000000000000000000' THEN
            IF current_setting('synchronous_commit') <> in_commit THEN
                IF in_commit = 'off' OR current_setting('synchronous_commit') <> 'remote_apply' THEN
                    setting := set_config('synchronous_commit', in_commit, true);
                END IF;
            END IF;
            now_at := "public"."idempotency_keys_now"()::timestamptz(3);
            -- Where one of these waited for another transaction that failed, it won as of before the wait.
            IF in_lease_for = '0' AND in_rev IS NOT NULL THEN
                -- gone_at never moves back, nor does lease_until, save that this lease is over now.
                UPDATE "public"."idempotency_keys" k
                    SET rev = in_rev, head = in_head, body = in_body, lease_until = now_at,
                        gone_at = greatest(k.gone_at, now_at + in_keep_for)
                    WHERE k.tenant = in_tenant AND k.key = in_key
                        AND k.rev = in_expect AND now_at < k.gone_at;
            ELSIF in_rev IS NULL THEN
                DELETE FROM "public"."idempotency_keys" k
                    WHERE k.tenant = in_tenant AND k.key = in_key
                        AND k.rev = in_expect AND now_at < k.gone_at;
            ELSE
                UPDATE "public"."idempotency_keys" k
                    SET rev = in_rev, head = in_head, body = in_body,
                        lease_until = greatest(k.lease_until, now_at + in_lease_for),
                        gone_at = greatest(k.gone_at, now_at + in_keep_for)
                    WHERE k.tenant = in_tenant AND k.key = in_key
                        AND k.rev = in_expect AND now_at < k.gone_at
                    RETURNING CASE WHEN "public"."idempotency_keys_now"() > now_at + '5ms' THEN
                        (SELECT b.gone_at FROM "public"."idempotency_keys" b
                            WHERE b.tenant = in_tenant AND b.key = in_key) END
                    INTO there_gone_at;
                IF there_gone_at IS NOT NULL THEN
                    -- A lease counts from now, unless the old record would have gone meanwhile.
                    later_at := "public"."idempotency_keys_now"()::timestamptz(3);
                    IF later_at < there_gone_at THEN
                        now_at := later_at;
                        UPDATE "public"."idempotency_keys" k
                            SET lease_until = greatest(k.lease_until, now_at + in_lease_for),
                                gone_at = greatest(k.gone_at, now_at + in_keep_for)
                            WHERE k.tenant = in_tenant AND k.key = in_key;
                    END IF;
                END IF;
            END IF;
            IF FOUND THEN
                RETURN timestamptz_send(now_at);
            END IF;
        END IF;

        IF gone_and_locked THEN
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
        now_at := "public"."idempotency_keys_now"()::timestamptz(3);
        IF now_at < there_gone_at OR in_expect IS NOT NULL THEN
            -- A standby lags behind: what it shows may be long over.
            IF current_setting('transaction_read_only') = 'on' THEN
                RAISE EXCEPTION USING ERRCODE = 'read_only_sql_transaction',
                    MESSAGE = 'idempotency keys need a server that can be written';
            END IF;
            IF in_expect IS NOT NULL THEN
                IF there_rev IS NULL OR now_at >= there_gone_at THEN
                    RETURN timestamptz_send(now_at) || '\x00';
                END IF;
                -- Then it was put between the two statements.
                came_meanwhile := there_rev = in_expect
                    AND in_expect <> '\x00000000000000000000000000000000';
            END IF;
            IF came_meanwhile IS NOT TRUE THEN
                RETURN array_send(ARRAY[timestamptz_send(now_at), timestamptz_send(there_lease_until),
                    timestamptz_send(there_gone_at), there_rev, there_head, there_body]);
            END IF;
        ELSE
            IF current_setting('synchronous_commit') <> in_commit THEN
                IF in_commit = 'off' OR current_setting('synchronous_commit') <> 'remote_apply' THEN
                    setting := set_config('synchronous_commit', in_commit, true);
                END IF;
            END IF;
            IF there_rev IS NULL THEN
                IF in_rev IS NULL THEN
                    RETURN timestamptz_send(now_at);
                END IF;
                INSERT INTO "public"."idempotency_keys" AS k
                    (tenant, key, rev, lease_until, gone_at, purge_after, head, body)
                    VALUES (in_tenant, in_key, in_rev, now_at + in_lease_for, now_at + in_keep_for,
                            now_at + in_keep_for, in_head, in_body)
                    ON CONFLICT DO NOTHING;
                IF FOUND AND "public"."idempotency_keys_now"() <= now_at + '5ms' THEN
                    RETURN timestamptz_send(now_at);
                ELSIF FOUND THEN
                    -- It waited for another transaction that failed. purge_after is still early
                    -- enough.
                    now_at := "public"."idempotency_keys_now"()::timestamptz(3);
                    UPDATE "public"."idempotency_keys" k
                        SET lease_until = now_at + in_lease_for, gone_at = now_at + in_keep_for
                        WHERE k.tenant = in_tenant AND k.key = in_key;
                    RETURN timestamptz_send(now_at);
                END IF;
                -- Somebody else was faster. The next statement sees what this one did not.
            ELSIF gone_and_locked IS NULL THEN
                -- It is gone, and whoever else sees that comes here, too: look again with the row
                -- locked.
                gone_and_locked := true;
            ELSIF in_rev IS NULL THEN
                DELETE FROM "public"."idempotency_keys" k
                    WHERE k.tenant = in_tenant AND k.key = in_key;
                RETURN timestamptz_send(now_at);
            ELSE
                UPDATE "public"."idempotency_keys" k
                    SET rev = in_rev, head = in_head, body = in_body,
                        lease_until = now_at + in_lease_for, gone_at = now_at + in_keep_for,
                        purge_after = now_at + in_keep_for
                    WHERE k.tenant = in_tenant AND k.key = in_key;
                RETURN timestamptz_send(now_at);
            END IF;
        END IF;
        rounds := coalesce(rounds, 0) + 1;
        IF rounds = 16 THEN
            RAISE EXCEPTION USING ERRCODE = 'serialization_failure',
                MESSAGE = 'the idempotency key kept changing';
        END IF;
    END LOOP;
END
$$;

-- Puts without looking, which writes nothing where something is there: then it asks as everybody
-- does. For claim.sql, which has looked, and has set the tenant.
CREATE FUNCTION "public"."idempotency_keys_put"(
    in_tenant text, in_key bytea, in_rev bytea,
    in_lease_for interval, in_keep_for interval, in_head bytea, in_body bytea, in_commit text
) RETURNS bytea
LANGUAGE plpgsql VOLATILE SECURITY INVOKER AS
$$
DECLARE
    setting text;
    now_at timestamptz;
BEGIN
    IF current_setting('synchronous_commit') <> in_commit THEN
        IF in_commit = 'off' OR current_setting('synchronous_commit') <> 'remote_apply' THEN
            setting := set_config('synchronous_commit', in_commit, true);
        END IF;
    END IF;
    now_at := "public"."idempotency_keys_now"()::timestamptz(3);
    INSERT INTO "public"."idempotency_keys" AS k
        (tenant, key, rev, lease_until, gone_at, purge_after, head, body)
        VALUES (in_tenant, in_key, in_rev, now_at + in_lease_for, now_at + in_keep_for,
                now_at + in_keep_for, in_head, in_body)
        ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN "public"."idempotency_keys_swap"(in_tenant, in_key, NULL, in_rev,
            in_lease_for, in_keep_for, in_head, in_body, in_commit);
    END IF;
    IF "public"."idempotency_keys_now"() > now_at + '5ms' THEN
        -- It waited for another transaction that failed. purge_after is still early enough.
        now_at := "public"."idempotency_keys_now"()::timestamptz(3);
        UPDATE "public"."idempotency_keys" k
            SET lease_until = now_at + in_lease_for, gone_at = now_at + in_keep_for
            WHERE k.tenant = in_tenant AND k.key = in_key;
    END IF;
    RETURN timestamptz_send(now_at);
END
$$;

-- The same inside a transaction of the caller's. Where another transaction holds the record it
-- waits for at most in_wait. The settings of the caller's transaction are as they were
-- afterwards, save that its commit waits for the disk: the outcome is part of it.
--
-- A duplicate is rare here, so a claim puts without looking, which writes nothing where something is
-- there; and so does an outcome. Where that comes to nothing, it asks as everybody does. Both stand
-- here as they stand above: to call them took 8 % longer.
--
--   in_wait     as SHOW lock_timeout writes it, such as 250ms or 1s: where the connection has the
--               same there is nothing to set.
--   in_goes_on  true: where the wait was too long the answer is null, nothing was done, and the
--               caller's transaction can go on; that takes a subtransaction. False: it fails.
CREATE FUNCTION "public"."idempotency_keys_swap_within"(
    in_tenant text, in_key bytea, in_expect bytea, in_rev bytea,
    in_lease_for interval, in_keep_for interval, in_head bytea, in_body bytea, in_wait text,
    in_goes_on boolean
) RETURNS bytea
LANGUAGE plpgsql VOLATILE SECURITY INVOKER AS
$$
DECLARE
    callers_tenant text := current_setting('idemp.tenant', true);
    callers_wait text := current_setting('lock_timeout');
    setting text := set_config('idemp.tenant', in_tenant, true);
    now_at timestamptz;
    answer bytea;
BEGIN
    IF callers_wait <> in_wait THEN
        setting := set_config('lock_timeout', in_wait, true);
    END IF;
    IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
        setting := set_config('synchronous_commit', 'on', true);
    END IF;
    IF in_goes_on THEN
        BEGIN
            IF in_expect IS NULL AND in_rev IS NOT NULL THEN
                now_at := "public"."idempotency_keys_now"()::timestamptz(3);
                INSERT INTO "public"."idempotency_keys" AS k
                    (tenant, key, rev, lease_until, gone_at, purge_after, head, body)
                    VALUES (in_tenant, in_key, in_rev, now_at + in_lease_for, now_at + in_keep_for,
                            now_at + in_keep_for, in_head, in_body)
                    ON CONFLICT DO NOTHING;
                IF FOUND THEN
                    IF "public"."idempotency_keys_now"() > now_at + '5ms' THEN
                        -- It waited for another transaction that failed. purge_after is still
                        -- early enough.
                        now_at := "public"."idempotency_keys_now"()::timestamptz(3);
                        UPDATE "public"."idempotency_keys" k
                            SET lease_until = now_at + in_lease_for, gone_at = now_at + in_keep_for
                            WHERE k.tenant = in_tenant AND k.key = in_key;
                    END IF;
                    answer := timestamptz_send(now_at);
                END IF;
            END IF;
            IF answer IS NULL THEN
                answer := "public"."idempotency_keys_swap"(in_tenant, in_key, in_expect, in_rev,
                    in_lease_for, in_keep_for, in_head, in_body, NULL);
            END IF;
        EXCEPTION WHEN lock_not_available THEN
            answer := NULL;
        END;
    ELSE
        IF in_lease_for = '0' AND in_rev IS NOT NULL
            AND in_expect <> '\x00000000000000000000000000000000'
        THEN
            now_at := "public"."idempotency_keys_now"()::timestamptz(3);
            UPDATE "public"."idempotency_keys" k
                SET rev = in_rev, head = in_head, body = in_body, lease_until = now_at,
                    gone_at = greatest(k.gone_at, now_at + in_keep_for)
                WHERE k.tenant = in_tenant AND k.key = in_key
                    AND k.rev = in_expect AND now_at < k.gone_at;
            IF FOUND THEN
                answer := timestamptz_send(now_at);
            END IF;
        END IF;
        IF answer IS NULL THEN
            answer := "public"."idempotency_keys_swap"(in_tenant, in_key, in_expect, in_rev,
                in_lease_for, in_keep_for, in_head, in_body, NULL);
        END IF;
    END IF;
    setting := set_config('idemp.tenant', coalesce(callers_tenant, ''), true);
    IF callers_wait <> in_wait THEN
        setting := set_config('lock_timeout', callers_wait, true);
    END IF;
    RETURN answer;
END
$$;

-- The next two are for work inside a transaction of the caller's that ends in it: a lease that nobody
-- would see is not written. Their settings and their commits are those of the function above.
--
-- The first half: locks the key to the end of the transaction, and reads what lies there. The lock makes
-- those wait for each other who come here, and nobody else; who wins is decided by the comparison, where
-- the outcome is put. Where another transaction has the lock it waits for at most in_wait, unless what
-- lies there defeats the question whatever becomes of the other one.
--
--   in_expect   as above, and never sixteen zero bytes
--   in_wait     as lock_timeout is written
--
-- The answer is null where the wait was too long: nothing was done, and the caller's transaction can go
-- on. Else it has one of the two longer forms above, but for two things: the time is no whole number of
-- milliseconds, round it, half of one up; and what lies there may be gone.
CREATE FUNCTION "public"."idempotency_keys_lock_within"(
    in_tenant text, in_key bytea, in_expect bytea, in_wait text
) RETURNS bytea
LANGUAGE plpgsql VOLATILE SECURITY INVOKER AS
$$
DECLARE
    callers_tenant text := current_setting('idemp.tenant', true);
    setting text;
    lock_number bigint;
    now_at timestamptz;         -- null: not yet
    there_rev bytea;
    there_lease_until timestamptz;
    there_gone_at timestamptz;
    there_head bytea;
    there_body bytea;
BEGIN
    -- The number sets the tenant, too. Keys that have one number wait for each other, and nothing else
    -- comes of it.
    IF pg_try_advisory_xact_lock(hashtextextended(encode(in_key, 'hex'),
            hashtextextended(set_config('idemp.tenant', in_tenant, true),
                hashtextextended('"public"."idempotency_keys"', 0))))
        AND current_setting('transaction_read_only') = 'off'
    THEN
        -- A statement behind the lock: it sees what was committed by whoever had the lock before.
        SELECT k.rev, k.lease_until, k.gone_at, k.head, k.body
            INTO there_rev, there_lease_until, there_gone_at, there_head, there_body
            FROM "public"."idempotency_keys" k
            WHERE k.tenant = in_tenant AND k.key = in_key;
    ELSE
        -- A standby lags behind, and nothing is written here that would fail there.
        IF current_setting('transaction_read_only') = 'on' THEN
            RAISE EXCEPTION USING ERRCODE = 'read_only_sql_transaction',
                MESSAGE = 'idempotency keys need a server that can be written';
        END IF;
        SELECT k.rev, k.lease_until, k.gone_at, k.head, k.body
            INTO there_rev, there_lease_until, there_gone_at, there_head, there_body
            FROM "public"."idempotency_keys" k
            WHERE k.tenant = in_tenant AND k.key = in_key;
        now_at := "public"."idempotency_keys_now"();
        IF there_rev IS NULL OR there_rev = in_expect OR now_at >= there_gone_at THEN
            lock_number := hashtextextended(encode(in_key, 'hex'), hashtextextended(in_tenant,
                hashtextextended('"public"."idempotency_keys"', 0)));
            BEGIN
                setting := current_setting('lock_timeout');
                PERFORM set_config('lock_timeout', in_wait, true);
                PERFORM pg_advisory_xact_lock(lock_number);
                PERFORM set_config('lock_timeout', setting, true);
            EXCEPTION WHEN lock_not_available THEN
                PERFORM set_config('idemp.tenant', coalesce(callers_tenant, ''), true);
                RETURN NULL;
            END;
            PERFORM set_config('idemp.tenant', coalesce(callers_tenant, ''), true);
            -- The lock is this transaction's: now it does not wait.
            RETURN "public"."idempotency_keys_lock_within"(in_tenant, in_key, in_expect, in_wait);
        END IF;
    END IF;
    setting := set_config('idemp.tenant', coalesce(callers_tenant, ''), true);
    IF there_rev IS NULL THEN
        RETURN timestamptz_send("public"."idempotency_keys_now"()) || '\x00';
    END IF;
    now_at := coalesce(now_at, "public"."idempotency_keys_now"());
    RETURN array_send(ARRAY[timestamptz_send(now_at), timestamptz_send(there_lease_until),
        timestamptz_send(there_gone_at), there_rev, there_head, there_body]);
END
$$;

-- The second half, where not even a record that is gone lay: puts an outcome, which has no lease, and
-- answers the time. Where something lies there by now it fails with unique_violation, and with it the
-- transaction, of which nothing may be committed: an insert that may come to nothing costs 4 % more. It also
-- fails where another transaction holds the record for in_wait.
CREATE FUNCTION "public"."idempotency_keys_put_within"(
    in_tenant text, in_key bytea, in_rev bytea,
    in_keep_for interval, in_head bytea, in_body bytea, in_wait text
) RETURNS bytea
LANGUAGE plpgsql VOLATILE SECURITY INVOKER AS
$$
DECLARE
    callers_tenant text := current_setting('idemp.tenant', true);
    callers_wait text;          -- null: it stays as it is
    setting text;
    now_at timestamptz := "public"."idempotency_keys_now"()::timestamptz(3);
BEGIN
    IF current_setting('lock_timeout') <> in_wait
        OR current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')
    THEN
        callers_wait := current_setting('lock_timeout');
        setting := set_config('lock_timeout', in_wait, true);
        IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
            setting := set_config('synchronous_commit', 'on', true);
        END IF;
    END IF;
    -- Where this waits for another transaction that fails, it wins as of before the wait.
    INSERT INTO "public"."idempotency_keys"
        (tenant, key, rev, lease_until, gone_at, purge_after, head, body)
        VALUES (set_config('idemp.tenant', in_tenant, true), in_key, in_rev, now_at,
                now_at + in_keep_for, now_at + in_keep_for, in_head, in_body);
    setting := set_config('idemp.tenant', coalesce(callers_tenant, ''), true);
    IF callers_wait IS NOT NULL THEN
        setting := set_config('lock_timeout', callers_wait, true);
    END IF;
    RETURN timestamptz_send(now_at);
END
$$;

-- Deletes at most in_limit records that are gone, of all tenants, and says how many. Several may
-- run at once: they pass over what another one, or a new lease, has locked.
CREATE FUNCTION "public"."idempotency_keys_purge"(in_limit bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY INVOKER AS
$$
DECLARE
    -- Once: an index is of no use to a clock that goes on.
    moment timestamptz := "public"."idempotency_keys_now"()::timestamptz(3);
    callers_purge text := coalesce(current_setting('idemp.purge', true), '');
    purged bigint;
    setting text;
BEGIN
    setting := set_config('idemp.purge', 'on', true);
    -- By place, not by key: a join would look at every row where the limit is large. A row that is
    -- locked stays in its place.
    DELETE FROM "public"."idempotency_keys" k
        WHERE k.ctid = ANY (ARRAY(
            SELECT g.ctid FROM "public"."idempotency_keys" g
                WHERE g.purge_after <= moment AND g.gone_at <= moment
                ORDER BY g.purge_after LIMIT in_limit FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS purged = ROW_COUNT;
    setting := set_config('idemp.purge', callers_purge, true);
    RETURN purged;
END
$$;

COMMENT ON TABLE "public"."idempotency_keys" IS 'idemp schema 1';
