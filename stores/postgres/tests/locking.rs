//! A lock in place of the lease: what is written, when, and who is defeated by whom.

mod support;

use std::time::Duration;

use idemp::{
    AsyncStore as _, Decision, Error, Expect, Fingerprint, Idempotency, LeaseError, Policy, Put,
    Scope, Slot, SlotKey, StoreError, Swap, Verdict, apply,
};
use idemp_postgres::PostgresStore;
use idemp_postgres::tokio_postgres::IsolationLevel;
use support::*;

type Idem = Idempotency<PostgresStore>;

async fn idem(place: &Place) -> Idem {
    Idempotency::new(place.store().await)
}

fn rows(place: &Place) -> String {
    place.sql("SELECT count(*) FROM KEYS")
}

#[tokio::test]
async fn nothing_is_written_before_the_outcome_and_nothing_stays_without_it() {
    let place = Place::new();
    let idem = idem(&place).await;
    let mut client = place.client().await;
    for commits in [true, false] {
        let transaction = client.transaction().await.unwrap();
        miss_in(&idem, &idem.store().locking(&transaction), "k").await;
        let written = "SELECT pg_current_xact_id_if_assigned() IS NOT NULL";
        let written: bool = transaction.query_one(written, &[]).await.unwrap().get(0);
        assert!(!written, "a transaction that wrote has a number");
        if commits {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
        }
        assert_eq!(rows(&place), "0");
        // And nobody waits for it.
        let transaction = client.transaction().await.unwrap();
        let inside = idem.store().locking(&transaction);
        assert_eq!(miss_in(&idem, &inside, "k").await.attempt(), 1);
    }
}

#[tokio::test]
async fn who_does_not_take_the_lock_may_win_and_then_nothing_can_be_committed() {
    let place = Place::new();
    let idem = idem(&place).await;
    place.sql("CREATE TABLE KEYS_orders (id bigint); GRANT ALL ON KEYS_orders TO idemp_app");
    let mut client = place.client().await;
    // The other one still at work, done, and done and looked at before the finish.
    for (n, (finishes, looks)) in [(false, false), (true, false), (true, true)]
        .into_iter()
        .enumerate()
    {
        let name = format!("k{n}");
        let transaction = client.transaction().await.unwrap();
        let inside = idem.store().locking(&transaction);
        let lease = miss_in(&idem, &inside, &name).await;
        let insert = format!("INSERT INTO {}_orders VALUES (1)", place.table);
        transaction.execute(&insert, &[]).await.unwrap();
        let mut other = miss(&idem, &name).await;
        if finishes {
            other.finish("theirs").await.unwrap();
        }
        if looks {
            // What lies there decides, though this transaction has a lease of its own.
            assert!(begin_in(&idem, &inside, &name).await.is_hit());
        }
        let finished = idem.finish_in(&inside, &lease, "ours").await;
        assert!(
            matches!(finished, Err(LeaseError::Stale(_))),
            "{finished:?}"
        );
        if !looks {
            // Even who commits all the same commits nothing.
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
        }
        assert_eq!(place.sql("SELECT count(*) FROM KEYS_orders"), "0");
        if !finishes {
            other.finish("theirs").await.unwrap();
        }
        let Decision::Hit(replay) = begin(&idem, &name).await else {
            panic!("a hit")
        };
        assert_eq!(replay.json::<String>().unwrap(), "theirs");
    }
}

#[tokio::test]
async fn a_written_lease_of_another_transaction_defeats_the_lock_when_it_is_committed() {
    let place = Place::new();
    let idem = idem(&place).await;
    let (mut first, mut second) = (place.client().await, place.client().await);
    for (name, commits) in [("committed", true), ("rolled back", false)] {
        let transaction = first.transaction().await.unwrap();
        let locking = idem.store().locking(&transaction);
        let lease = miss_in(&idem, &locking, name).await;
        // It sees nothing, and does not wait.
        let written = second.transaction().await.unwrap();
        let within = idem.store().within(&written);
        let theirs = miss_in(&idem, &within, name).await;
        idem.finish_in(&within, &theirs, "theirs").await.unwrap();
        // The outcome waits for what becomes of the other one.
        let finish = idem.finish_in(&locking, &lease, "ours");
        let ends = async {
            let waits = "SELECT count(*) FROM pg_stat_activity
                         WHERE wait_event_type = 'Lock' AND query ~ '\"KEYS_put_within'";
            until("the outcome waits", async || place.sql(waits) == "1").await;
            if commits {
                written.commit().await.unwrap();
            } else {
                written.rollback().await.unwrap();
            }
        };
        let (finished, ()) = tokio::join!(finish, ends);
        if commits {
            assert!(
                matches!(finished, Err(LeaseError::Stale(_))),
                "{finished:?}"
            );
        } else {
            finished.unwrap();
        }
        transaction.commit().await.unwrap();
        let Decision::Hit(replay) = begin(&idem, name).await else {
            panic!("a hit")
        };
        let outcome = if commits { "theirs" } else { "ours" };
        assert_eq!(replay.json::<String>().unwrap(), outcome);
    }
}

#[tokio::test]
async fn an_outcome_waits_for_another_transaction_only_so_long() {
    let place = Place::new();
    let idem = idem(&place).await;
    let short = place.options().lock_wait(Duration::from_millis(50));
    let short = short.open().unwrap();
    let (mut first, mut second) = (place.client().await, place.client().await);
    let transaction = first.transaction().await.unwrap();
    let locking = short.locking(&transaction);
    let lease = miss_in(&idem, &locking, "k").await;
    let written = second.transaction().await.unwrap();
    miss_in(&idem, &idem.store().within(&written), "k").await;
    let finished = idem.finish_in(&locking, &lease, "ours").await;
    assert!(
        matches!(finished, Err(LeaseError::Store(StoreError::Busy))),
        "{finished:?}"
    );
    // What failed is not made good by asking again.
    let again = idem.finish_in(&locking, &lease, "ours").await;
    assert!(again.is_err(), "{again:?}");
    transaction.rollback().await.unwrap();
    written.rollback().await.unwrap();
    assert_eq!(rows(&place), "0");
}

#[tokio::test]
async fn a_lapsed_lease_is_taken_over_by_the_outcome_unless_somebody_else_did() {
    let place = Place::new();
    let idem = idem(&place).await;
    let mut client = place.client().await;
    for other in [false, true] {
        let name = format!("{other}");
        let lapse = Duration::from_millis(1);
        let short = Policy::replay(48 * 60 * MINUTE)
            .lease(lapse)
            .build()
            .unwrap();
        let dead = miss(&idem.with_policy(short), &name).await.detach();
        until("it lapses", async || {
            let read = Swap::read(slot(&name));
            idem.store().swap(&read).await.unwrap().now >= dead.lease_until()
        })
        .await;
        let before = read(idem.store(), slot(&name)).await.unwrap();
        let transaction = client.transaction().await.unwrap();
        let inside = idem.store().locking(&transaction);
        let lease = miss_in(&idem, &inside, &name).await;
        assert_eq!(lease.attempt(), 2);
        if other {
            miss(&idem, &name).await.finish("theirs").await.unwrap();
            let finished = idem.finish_in(&inside, &lease, "ours").await;
            let Err(LeaseError::Stale(stale)) = finished else {
                panic!("stale, not {finished:?}")
            };
            let winner = stale.winner.unwrap().json::<String>();
            assert_eq!(winner.unwrap(), "theirs");
            continue;
        }
        idem.finish_in(&inside, &lease, "ours").await.unwrap();
        transaction.commit().await.unwrap();
        let after = read(idem.store(), slot(&name)).await.unwrap();
        assert!(
            after.gone_at >= before.gone_at,
            "kept for a day, and for two before"
        );
        assert!(begin(&idem, &name).await.is_hit());
    }
}

#[tokio::test]
async fn what_is_gone_makes_room_for_the_outcome() {
    let place = Place::new();
    let idem = idem(&place).await;
    let soon = Duration::from_millis(1);
    let gone = put_for(fresh(), soon, soon, b"gone");
    ask(idem.store(), slot("k"), Expect::Vacant, gone).await;
    until("it is gone", async || {
        read(idem.store(), slot("k")).await.is_none()
    })
    .await;
    let mut client = place.client().await;
    let transaction = client.transaction().await.unwrap();
    let inside = idem.store().locking(&transaction);
    let lease = miss_in(&idem, &inside, "k").await;
    idem.finish_in(&inside, &lease, "ours").await.unwrap();
    transaction.commit().await.unwrap();
    assert!(begin(&idem, "k").await.is_hit());
    assert_eq!(rows(&place), "1");
}

#[tokio::test]
async fn one_transaction_takes_several_keys_and_each_once() {
    let place = Place::new();
    let idem = idem(&place).await;
    let mut client = place.client().await;
    let transaction = client.transaction().await.unwrap();
    let inside = idem.store().locking(&transaction);
    let first = miss_in(&idem, &inside, "a").await;
    let second = miss_in(&idem, &inside, "b").await;
    // The same key again, in there: its lease is live.
    let again = begin_in(&idem, &inside, "a").await;
    assert!(matches!(again, Decision::InProgress(_)), "{again:?}");
    let other = Fingerprint::from_parts(Fingerprint::VERSION, [2; 32]);
    let conflict = idem.begin_in(&inside, &scope(), &key("a"), &other).await;
    assert!(matches!(conflict, Ok(Decision::Conflict)), "{conflict:?}");
    idem.finish_in(&inside, &second, "b").await.unwrap();
    idem.finish_in(&inside, &first, "a").await.unwrap();
    // To finish again is to have finished; with something else it is not.
    idem.finish_in(&inside, &first, "a").await.unwrap();
    let stale = idem.finish_in(&inside, &first, "other").await;
    assert!(matches!(stale, Err(LeaseError::Stale(_))), "{stale:?}");
    transaction.commit().await.unwrap();
    for name in ["a", "b"] {
        let Decision::Hit(replay) = begin(&idem, name).await else {
            panic!("a hit")
        };
        assert_eq!(replay.json::<String>().unwrap(), name);
    }
}

#[tokio::test]
async fn of_two_questions_at_once_one_is_a_miss() {
    let place = Place::new();
    let idem = idem(&place).await;
    let mut client = place.client().await;
    let transaction = client.transaction().await.unwrap();
    let inside = idem.store().locking(&transaction);
    let (a, b) = tokio::join!(begin_in(&idem, &inside, "k"), begin_in(&idem, &inside, "k"));
    assert!(a.is_miss() != b.is_miss(), "{a:?} {b:?}");
}

#[tokio::test]
async fn a_key_that_is_held_only_while_active_is_vacant_again() {
    let place = Place::new();
    let store = place.store().await;
    let policy = Policy::while_active(MINUTE).build().unwrap();
    let idem = Idempotency::new(store).with_policy(policy);
    let mut client = place.client().await;
    let transaction = client.transaction().await.unwrap();
    let inside = idem.store().locking(&transaction);
    let lease = miss_in(&idem, &inside, "k").await;
    idem.finish_in(&inside, &lease, "done").await.unwrap();
    assert!(begin_in(&idem, &inside, "k").await.is_miss());
    transaction.commit().await.unwrap();
    assert_eq!(rows(&place), "0");
}

#[tokio::test]
async fn a_replay_waits_for_nobody_who_only_replayed() {
    let place = Place::new();
    let idem = idem(&place).await;
    miss(&idem, "k").await.finish("outcome").await.unwrap();
    let (mut first, mut second) = (place.client().await, place.client().await);
    let other = first.transaction().await.unwrap();
    assert!(
        begin_in(&idem, &idem.store().locking(&other), "k")
            .await
            .is_hit()
    );
    // That one has the lock, and goes on.
    let transaction = second.transaction().await.unwrap();
    let inside = idem.store().locking(&transaction);
    assert!(begin_in(&idem, &inside, "k").await.is_hit());
    other.rollback().await.unwrap();
}

#[tokio::test]
async fn tenants_do_not_wait_for_each_other() {
    let place = Place::new();
    let idem = idem(&place).await;
    let scopes =
        ["tenant-1", "tenant-2"].map(|tenant| Scope::new([tenant, "POST /orders"]).unwrap());
    let (mut first, mut second) = (place.client().await, place.client().await);
    let transactions = [
        first.transaction().await.unwrap(),
        second.transaction().await.unwrap(),
    ];
    let mut ends = Vec::new();
    for (transaction, scope) in transactions.iter().zip(&scopes) {
        let inside = idem.store().locking(transaction);
        let begun = idem.begin_in(&inside, scope, &key("k"), &payload()).await;
        let Ok(Decision::Miss(lease)) = begun else {
            panic!("a miss, not {begun:?}")
        };
        ends.push((inside, lease));
    }
    for (inside, lease) in &ends {
        idem.finish_in(inside, lease, "outcome").await.unwrap();
    }
    drop(ends);
    for transaction in transactions {
        transaction.commit().await.unwrap();
    }
    assert_eq!(
        place.sql("SELECT string_agg(tenant, ' ' ORDER BY tenant) FROM KEYS"),
        "tenant-1 tenant-2"
    );
    for scope in &scopes {
        assert!(
            read(idem.store(), SlotKey::new(scope, &key("k")))
                .await
                .is_some()
        );
    }
}

#[tokio::test]
async fn a_transaction_with_an_older_snapshot_cannot_put_a_second_outcome() {
    let place = Place::new();
    let idem = idem(&place).await;
    for level in [IsolationLevel::RepeatableRead, IsolationLevel::Serializable] {
        let name = format!("{level:?}");
        let mut client = place.client().await;
        let transaction = client.build_transaction().isolation_level(level);
        let transaction = transaction.start().await.unwrap();
        transaction.query("SELECT 1", &[]).await.unwrap(); // takes the snapshot
        miss(&idem, &name).await.finish("theirs").await.unwrap();
        let inside = idem.store().locking(&transaction);
        let lease = miss_in(&idem, &inside, &name).await;
        let finished = idem.finish_in(&inside, &lease, "ours").await;
        match finished.unwrap_err() {
            LeaseError::Stale(_) => {}
            LeaseError::Store(error) => assert!(error.is_retryable(), "{error:?}"),
            other => panic!("{other:?}"),
        }
        transaction.commit().await.unwrap();
        // And again.
        let transaction = client.build_transaction().isolation_level(level);
        let transaction = transaction.start().await.unwrap();
        let inside = idem.store().locking(&transaction);
        let Decision::Hit(replay) = begin_in(&idem, &inside, &name).await else {
            panic!("a hit")
        };
        assert_eq!(replay.json::<String>().unwrap(), "theirs");
    }
}

#[tokio::test]
async fn a_transaction_that_cannot_write_is_refused_before_anything_is_done() {
    let place = Place::new();
    let idem = idem(&place).await;
    let mut client = place.client().await;
    let transaction = client
        .build_transaction()
        .read_only(true)
        .start()
        .await
        .unwrap();
    let inside = idem.store().locking(&transaction);
    let begun = idem
        .begin_in(&inside, &scope(), &key("k"), &payload())
        .await;
    let Err(Error::Store(StoreError::Unusable(Some(cause)))) = begun else {
        panic!("unusable, not {begun:?}")
    };
    assert!(
        cause.to_string().contains("connect to the writer"),
        "{cause}"
    );
}

#[tokio::test]
async fn what_is_written_after_a_rollback_to_a_savepoint_is_compared_all_the_same() {
    let place = Place::new();
    let idem = idem(&place).await;
    let (mut first, mut second) = (place.client().await, place.client().await);
    let transaction = first.transaction().await.unwrap();
    let inside = idem.store().locking(&transaction);
    transaction.batch_execute("SAVEPOINT before").await.unwrap();
    let lease = miss_in(&idem, &inside, "k").await;
    // The lock is lost with it, and so is this key to another one.
    transaction
        .batch_execute("ROLLBACK TO before")
        .await
        .unwrap();
    let other = second.transaction().await.unwrap();
    let others = idem.store().locking(&other);
    let theirs = miss_in(&idem, &others, "k").await;
    idem.finish_in(&others, &theirs, "theirs").await.unwrap();
    other.commit().await.unwrap();
    let finished = idem.finish_in(&inside, &lease, "ours").await;
    assert!(
        matches!(finished, Err(LeaseError::Stale(_))),
        "{finished:?}"
    );
}

/// A small generator: the same commands in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % sides
    }
}

/// Whatever is asked in a transaction is answered as `apply` answers it, and the commit leaves what the
/// last question left that was no lease.
#[tokio::test]
async fn random_questions_are_answered_as_apply_says_and_leave_what_it_leaves() {
    let place = Place::new();
    let store = place.store().await;
    let mut client = place.client().await;
    let mut dice = Dice(1);
    let (mut written, mut wins) = (0, 0);
    for round in 0..150 {
        let slots = [slot(&format!("{round}-a")), slot(&format!("{round}-b"))];
        let mut lies: [Option<Slot>; 2] = [None, None];
        // Something may lie there before: a lease, or an outcome.
        for (slot, lies) in slots.iter().zip(&mut lies) {
            if dice.roll(3) == 0 {
                let lease = if dice.roll(2) == 0 {
                    MINUTE
                } else {
                    Duration::ZERO
                };
                let swap = Swap {
                    slot: slot.clone(),
                    expect: Expect::Vacant,
                    put: put_for(fresh(), lease, 60 * MINUTE, b"before"),
                };
                let reply = store.swap(&swap).await.unwrap();
                apply(lies, &swap, reply.now);
            }
        }
        let mut table = lies.clone();
        let transaction = client.transaction().await.unwrap();
        let inside = store.locking(&transaction);
        let mut revs = vec![fresh()];
        for _ in 0..8 {
            let at = dice.roll(2) as usize;
            let expect = match (dice.roll(4), &lies[at]) {
                (0, _) => Expect::Vacant,
                (1, _) => Expect::Rev(revs[dice.roll(revs.len() as u64) as usize]),
                (_, Some(slot)) => Expect::Rev(slot.rev),
                (_, None) => Expect::Vacant,
            };
            let rev = fresh();
            let (leases, put) = match dice.roll(5) {
                0 => (false, Put::Remove),
                1 => (false, put_for(rev, Duration::ZERO, 60 * MINUTE, b"outcome")),
                _ => (true, put(rev, b"lease")),
            };
            let swap = Swap {
                slot: slots[at].clone(),
                expect,
                put,
            };
            let reply = inside.swap(&swap).await.unwrap();
            let defined = apply(&mut lies[at], &swap, reply.now);
            assert_eq!(reply, defined, "round {round}: {swap:?}");
            if reply.verdict == Verdict::Won {
                revs.push(rev);
                wins += 1;
                if !leases {
                    table[at] = lies[at].clone();
                    written += 1;
                }
            }
            if dice.roll(4) == 0 {
                // A read loses, and shows the same.
                assert_eq!(read(&inside, slots[at].clone()).await, lies[at]);
            }
        }
        transaction.commit().await.unwrap();
        for (slot, table) in slots.iter().zip(table) {
            let there = read(&store, slot.clone()).await;
            assert_eq!(there, table, "round {round}");
        }
    }
    assert!(written > 100 && wins > written + 200, "{written} of {wins}");
}
