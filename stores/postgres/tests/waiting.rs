//! Contention: who waits, for how long, and what the wait may not change.

mod support;

use std::time::{Duration, Instant};

use idemp::{AsyncStore as _, Expect, Idempotency, Put, StoreError, Swap, Verdict, apply};
use support::*;

/// Waits until some connection waits for a lock on behalf of this table's functions.
async fn somebody_waits(place: &Place) {
    let waits = "SELECT count(*) FROM pg_stat_activity
                 WHERE wait_event_type = 'Lock' AND query ~ '\"KEYS_(put|swap)'";
    until("somebody waits", async || place.sql(waits) != "0").await;
}

#[tokio::test]
async fn a_lease_that_had_to_wait_for_its_row_is_granted_in_full() {
    let place = Place::new();
    let store = place
        .options()
        .lock_wait(Duration::from_secs(4))
        .open()
        .unwrap();
    store.migrate().await.unwrap();
    let mut other = place.client().await;
    for lies in ["nothing", "what is gone", "a lease"] {
        // Another transaction puts the record, and fails.
        let (name, soon) = (slot(lies), Duration::from_millis(1));
        let there = fresh();
        let expect = match lies {
            "nothing" => Expect::Vacant,
            "what is gone" => {
                let gone = put_for(there, soon, soon, b"");
                ask(&store, name.clone(), Expect::Vacant, gone).await;
                until("it is gone", async || {
                    read(&store, name.clone()).await.is_none()
                })
                .await;
                Expect::Vacant
            }
            _ => {
                let lease = put_for(there, soon, MINUTE / 2, b"");
                ask(&store, name.clone(), Expect::Vacant, lease).await;
                Expect::Rev(there)
            }
        };
        let transaction = other.transaction().await.unwrap();
        let within = store.within(&transaction);
        let won = ask(&within, name.clone(), expect, put(fresh(), b"")).await;
        assert_eq!(won.verdict, Verdict::Won);
        let asked = {
            let (store, name) = (store.clone(), name.clone());
            let lease = put_for(fresh(), Duration::from_millis(500), MINUTE, b"late");
            tokio::spawn(async move { ask(&store, name, expect, lease).await })
        };
        somebody_waits(&place).await;
        // It waits for longer than the lease is to live.
        tokio::time::sleep(Duration::from_millis(600)).await;
        transaction.rollback().await.unwrap();
        let reply = asked.await.unwrap();
        assert_eq!(reply.verdict, Verdict::Won);
        let there = read(&store, name).await.unwrap();
        assert_eq!(there.lease_until, reply.now + Duration::from_millis(500));
        assert_eq!(there.gone_at, reply.now + MINUTE);
        assert!(reply.now.since(won.now) >= Duration::from_millis(600));
    }
}

/// Every reading of the clock is seven milliseconds after the one before, as where the server stalls
/// between any two of them: leases lapse and records go in the middle of a question.
#[tokio::test]
async fn a_question_that_stalls_is_answered_as_of_one_instant() {
    let place = Place::new();
    let store = place.store().await;
    let table = &place.table;
    let stalling = format!(
        "CREATE SEQUENCE {table}_readings INCREMENT BY 7;
         CREATE OR REPLACE FUNCTION {table}_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS
         $$ SELECT to_timestamp(nextval('public.{table}_readings') / 1000.0) $$"
    );
    let owner = place.client().await;
    owner.batch_execute(&stalling).await.unwrap();
    let millis = Duration::from_millis;
    let there = fresh();
    for keep in 1..60 {
        for expect in [Expect::Vacant, Expect::Rev(there), Expect::Rev(fresh())] {
            let lease = put_for(fresh(), millis(10), millis(40), b"lease");
            let outcome = put_for(fresh(), Duration::ZERO, millis(40), b"outcome");
            for put in [Put::Remove, lease, outcome] {
                let slot = slot(&format!("{keep} {expect:?} {put:?}"));
                let begun = put_for(there, millis(keep.min(20)), millis(keep), b"begun");
                let asks = |expect, put| Swap {
                    slot: slot.clone(),
                    expect,
                    put,
                };
                let read = Swap::read(slot.clone());
                let mut model = None;
                for swap in [asks(Expect::Vacant, begun), asks(expect, put), read] {
                    let reply = store.swap(&swap).await.unwrap();
                    let defined = apply(&mut model, &swap, reply.now);
                    assert_eq!(reply, defined, "kept for {keep} ms: {swap:?}");
                }
            }
        }
    }
}

/// A claim reads the clock to look whether a record is there, and to say when that was.
#[tokio::test]
async fn a_clock_that_is_set_back_in_the_middle_of_a_claim_shows_nothing_that_is_gone() {
    let place = Place::new();
    let store = place.store().await;
    // By turns five seconds before a record goes, and five after.
    place.sql(
        "CREATE SEQUENCE KEYS_readings; GRANT USAGE ON KEYS_readings TO idemp_app;
         CREATE OR REPLACE FUNCTION KEYS_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS
         $$ SELECT to_timestamp(nextval('public.KEYS_readings') % 2 * 10) $$",
    );
    for (turn, there) in (0..20).map(|turn| (turn, fresh())) {
        let slot = slot(&format!("k{turn}"));
        let old = put_for(there, MINUTE, MINUTE, b"old");
        ask(&store, slot.clone(), Expect::Vacant, old).await;
        place.sql("UPDATE KEYS SET lease_until = to_timestamp(5), gone_at = to_timestamp(5)");
        if turn % 2 == 1 {
            place.sql("SELECT nextval('KEYS_readings')");
        }
        let mut model = read(&store, slot.clone()).await;
        let swap = Swap {
            slot,
            expect: Expect::Vacant,
            put: put(fresh(), b"new"),
        };
        let reply = store.swap(&swap).await.unwrap();
        if let Verdict::Lost(Some(there)) = &reply.verdict {
            assert!(reply.now < there.gone_at, "{reply:?}");
            model = Some(there.clone());
        }
        assert_eq!(reply, apply(&mut model, &swap, reply.now));
    }
}

#[tokio::test]
async fn a_lease_in_an_old_transaction_is_granted_in_full() {
    let place = Place::new();
    let store = place.store().await;
    let mut other = place.client().await;
    let transaction = other.transaction().await.unwrap();
    // now() stands from here on.
    let began = read(&store, slot("k")).await;
    assert_eq!(began, None);
    transaction
        .execute("SELECT pg_sleep(0.3)", &[])
        .await
        .unwrap();
    let within = store.within(&transaction);
    let lease = Duration::from_millis(200);
    let reply = ask(
        &within,
        slot("k"),
        Expect::Vacant,
        put_for(fresh(), lease, MINUTE, b""),
    )
    .await;
    let behind = transaction
        .query_one("SELECT (extract(epoch FROM now()) * 1000)::bigint", &[])
        .await
        .unwrap();
    let behind: i64 = behind.get(0);
    assert!(reply.now.as_millis() >= behind as u64 + 300);
    let there = read(&within, slot("k")).await.unwrap();
    assert_eq!(there.lease_until, reply.now + lease);
}

/// The measured trouble: a statement that saw nothing and then could not insert, or saw a state
/// that another one has replaced meanwhile, has no answer. Here it asks again, inside the trip.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn contended_questions_are_all_answered_and_one_wins() {
    let place = Place::new();
    let store = place.store().await;
    let gone = Duration::from_millis(1);
    for round in 0..200 {
        let name = slot(&format!("key-{round}"));
        if round % 2 == 1 {
            // Half of them take over what is gone.
            ask(
                &store,
                name.clone(),
                Expect::Vacant,
                put_for(fresh(), gone, gone, b""),
            )
            .await;
            until("it is gone", async || {
                read(&store, name.clone()).await.is_none()
            })
            .await;
        }
        let winners = storm(&store, name.clone(), Expect::Vacant).await;
        assert_eq!(winners, 1, "round {round}");
        // And a takeover: all know the same revision.
        let there = read(&store, name.clone()).await.unwrap();
        let winners = storm(&store, name, Expect::Rev(there.rev)).await;
        assert_eq!(winners, 1, "round {round}");
    }
}

async fn storm(
    store: &idemp_postgres::PostgresStore,
    name: idemp::SlotKey,
    expect: Expect,
) -> usize {
    let callers = (0..12).map(|_| {
        let (store, slot) = (store.clone(), name.clone());
        tokio::spawn(async move {
            let put = put(fresh(), b"mine");
            match ask(&store, slot, expect, put).await.verdict {
                Verdict::Won => true,
                Verdict::Lost(there) => {
                    assert_eq!(&*there.expect("somebody won").body, b"mine");
                    false
                }
            }
        })
    });
    let mut winners = 0;
    for caller in callers.collect::<Vec<_>>() {
        winners += usize::from(caller.await.unwrap());
    }
    winners
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_key_that_is_taken_and_removed_all_the_time_has_an_answer() {
    let place = Place::new();
    let store = place.store().await;
    let callers = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut wins = 0;
            for _ in 0..200 {
                let rev = fresh();
                let reply = ask(&store, slot("k"), Expect::Vacant, put(rev, b"")).await;
                if reply.verdict == Verdict::Won {
                    wins += 1;
                    let removed = ask(&store, slot("k"), Expect::Rev(rev), Put::Remove).await;
                    assert_eq!(
                        removed.verdict,
                        Verdict::Won,
                        "nobody else has the revision"
                    );
                }
            }
            wins
        })
    });
    let mut wins = 0;
    for caller in callers.collect::<Vec<_>>() {
        wins += caller.await.unwrap();
    }
    assert!(wins > 0);
}

#[tokio::test]
async fn a_record_that_a_transaction_holds_is_in_progress_after_the_wait() {
    let place = Place::new();
    let store = place
        .options()
        .lock_wait(Duration::from_millis(200))
        .open()
        .unwrap();
    store.migrate().await.unwrap();
    let idem = Idempotency::new(store.clone());
    let mut other = place.client().await;
    let transaction = other.transaction().await.unwrap();
    let lease = miss_in(&idem, &store.within(&transaction), "k").await;
    let asked = Instant::now();
    let swap = Swap {
        slot: slot("k"),
        expect: Expect::Vacant,
        put: put(fresh(), b""),
    };
    assert!(matches!(store.swap(&swap).await, Err(StoreError::Busy)));
    let waited = asked.elapsed();
    assert!(
        waited >= Duration::from_millis(200) && waited < Duration::from_secs(3),
        "{waited:?}"
    );
    assert!(matches!(
        begin(&idem, "k").await,
        idemp::Decision::InProgress(_)
    ));
    idem.finish_in(&store.within(&transaction), &lease, "outcome")
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    assert!(begin(&idem, "k").await.is_hit());
}

#[tokio::test]
async fn a_pool_without_a_free_connection_is_a_timeout() {
    let place = Place::new();
    place.store().await;
    let limit = Duration::from_millis(200);
    let store = place
        .options()
        .connections(1)
        .timeout(limit)
        .lock_wait(limit)
        .open()
        .unwrap();
    let _all = store.pool().get().await.unwrap();
    let asked = Instant::now();
    let error = store.swap(&Swap::read(slot("k"))).await.unwrap_err();
    assert!(matches!(error, StoreError::Timeout), "{error:?}");
    assert!(asked.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_a_timeout_and_its_connection_is_not_used_again() {
    let place = Place::new();
    place.store().await;
    let proxy = idemp_servers::Proxy::to(place.server.addr());
    let limit = Duration::from_millis(300);
    let url = place.server.url_at(proxy.addr());
    let store = idemp_postgres::PostgresStore::options(&url)
        .table(&place.table)
        .connections(1)
        .timeout(limit)
        .lock_wait(limit)
        .open()
        .unwrap();
    assert_eq!(read(&store, slot("k")).await, None);
    // Prepared: what is held or cut is the question itself.
    ask(&store, slot("warm"), Expect::Vacant, put(fresh(), b"")).await;
    proxy.hold();
    let swap = Swap {
        slot: slot("k"),
        expect: Expect::Vacant,
        put: put(fresh(), b"mine"),
    };
    let error = store.swap(&swap).await.unwrap_err();
    assert!(matches!(error, StoreError::Timeout), "{error:?}");
    proxy.pass();
    // The late answer is not taken for the next one's.
    assert_eq!(read(&store, slot("other")).await, None);
    assert_eq!(&*read(&store, slot("k")).await.unwrap().body, b"mine");
}

#[tokio::test]
async fn a_broken_connection_is_unavailable_and_the_next_question_has_a_new_one() {
    let place = Place::new();
    place.store().await;
    let proxy = idemp_servers::Proxy::to(place.server.addr());
    let url = place.server.url_at(proxy.addr());
    let store = idemp_postgres::PostgresStore::options(&url)
        .table(&place.table)
        .connections(1);
    let store = store.open().unwrap();
    assert_eq!(read(&store, slot("k")).await, None);
    // Prepared: what is held or cut is the question itself.
    ask(&store, slot("warm"), Expect::Vacant, put(fresh(), b"")).await;
    proxy.cut_after(0);
    let swap = Swap {
        slot: slot("k"),
        expect: Expect::Vacant,
        put: put(fresh(), b"mine"),
    };
    let error = store.swap(&swap).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    proxy.pass();
    assert_eq!(&*read(&store, slot("k")).await.unwrap().body, b"mine");
}
