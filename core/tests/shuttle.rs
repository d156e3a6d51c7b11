//! The memory store under shuttle: thousands of schedules, with its locks and counters replaced.
//!
//! Built with `RUSTFLAGS="--cfg shuttle"`: `cargo xtask test --only shuttle`.
#![cfg(shuttle)]

use idemp::testing::FakeClock;
use idemp::{Decision, Fingerprint, Idempotency, Key, MemoryStore, Policy, Scope, StoreError};
use shuttle::sync::Arc;
use shuttle::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn scope() -> Scope {
    Scope::new(["user"]).unwrap()
}

fn key(n: usize) -> Key {
    Key::new(format!("key-{n}")).unwrap()
}

fn payload(n: u8) -> Fingerprint {
    Fingerprint::from_parts(1, [n; 32])
}

fn store(capacity: usize) -> (FakeClock, Idempotency<MemoryStore>) {
    let clock = FakeClock::new();
    let policy = Policy::replay(Duration::from_secs(100)).lease(Duration::from_secs(10));
    let store = MemoryStore::with(clock.clone(), capacity);
    (
        clock,
        Idempotency::builder(store)
            .policy(policy.build().unwrap())
            .build(),
    )
}

#[test]
fn one_of_three_executes_and_the_others_get_its_outcome_or_wait() {
    let check = || {
        let (_, idem) = store(10);
        let executed = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..3)
            .map(|n| {
                let (idem, executed) = (idem.clone(), executed.clone());
                shuttle::thread::spawn(move || {
                    match idem.begin(&scope(), &key(0), &payload(1)).unwrap() {
                        Decision::Miss(mut lease) => {
                            executed.fetch_add(1, Ordering::SeqCst);
                            lease.finish(&"outcome").unwrap();
                        }
                        Decision::Hit(hit) => assert_eq!(hit.json::<String>().unwrap(), "outcome"),
                        Decision::InProgress(_) => {}
                        other => panic!("{n}: {other:?}"),
                    }
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(executed.load(Ordering::SeqCst), 1);
    };
    shuttle::check_random(check, 5_000);
    shuttle::check_pct(check, 5_000, 3);
}

#[test]
fn a_late_owner_and_the_one_that_took_over_leave_one_outcome() {
    shuttle::check_random(
        || {
            let (clock, idem) = store(10);
            let Ok(Decision::Miss(mut late)) = idem.begin(&scope(), &key(0), &payload(1)) else {
                panic!("a new key is a miss")
            };
            clock.advance(Duration::from_secs(10));
            let other = idem.clone();
            let second = shuttle::thread::spawn(move || {
                match other.begin(&scope(), &key(0), &payload(1)).unwrap() {
                    Decision::Miss(mut lease) => lease.finish(&2).is_ok().then_some(2),
                    Decision::Hit(hit) => Some(hit.json::<u8>().unwrap()),
                    other => panic!("{other:?}"),
                }
            });
            let first = late.finish(&1).is_ok();
            let second = second.join().unwrap();
            let Decision::Hit(hit) = idem.begin(&scope(), &key(0), &payload(1)).unwrap() else {
                panic!("it is finished")
            };
            let stored = hit.json::<u8>().unwrap();
            assert_eq!(first, stored == 1);
            assert_eq!(second, Some(stored));
        },
        5_000,
    );
}

#[test]
fn the_count_is_exact_and_the_bound_holds_while_slots_come_and_go() {
    shuttle::check_random(
        || {
            let (clock, idem) = store(2);
            let threads: Vec<_> = (0..3)
                .map(|n| {
                    let (idem, clock) = (idem.clone(), clock.clone());
                    shuttle::thread::spawn(move || {
                        for round in 0..2 {
                            match idem.begin(&scope(), &key(10 * n + round), &payload(1)) {
                                Ok(Decision::Miss(mut lease)) if round == 0 => {
                                    lease.forget().unwrap();
                                }
                                Ok(Decision::Miss(lease)) => drop(lease.detach()),
                                Err(idemp::Error::Store(StoreError::Full)) => {}
                                other => panic!("{other:?}"),
                            }
                            assert!(idem.store().len() <= 2 + 3, "no more than are under way");
                        }
                        clock.advance(Duration::from_secs(100));
                    })
                })
                .collect();
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
            clock.advance(Duration::from_secs(1000));
            idem.store().purge();
            assert_eq!(idem.store().len(), 0);
        },
        2_000,
    );
}
