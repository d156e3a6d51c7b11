//! The memory store beyond the laws that every store keeps: bounds, collection, threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use idemp::testing::FakeClock;
use idemp::{
    Clock, Decision, Error, Fingerprint, Idempotency, Key, Lease, MemoryStore, Policy, Scope,
    SlotKey, StoreError,
};

const HOUR: Duration = Duration::from_secs(3600);

fn scope() -> Scope {
    Scope::new(["user"]).unwrap()
}

fn key(n: usize) -> Key {
    Key::new(format!("key-{n}")).unwrap()
}

fn payload() -> Fingerprint {
    Fingerprint::from_parts(1, [1; 32])
}

fn small(capacity: usize) -> (FakeClock, Idempotency<MemoryStore>) {
    let clock = FakeClock::new();
    let policy = Policy::replay(HOUR).build().unwrap();
    let store = MemoryStore::with(clock.clone(), capacity);
    (clock, Idempotency::builder(store).policy(policy).build())
}

fn miss(idem: &Idempotency<MemoryStore>, n: usize) -> Lease<MemoryStore> {
    match idem.begin(&scope(), &key(n), &payload()).unwrap() {
        Decision::Miss(lease) => lease,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_full_store_fails_loudly_and_evicts_nothing() {
    let (_, idem) = small(3);
    let leases: Vec<_> = (0..3).map(|n| miss(&idem, n)).collect();
    let refused = idem.begin(&scope(), &key(3), &payload()).unwrap_err();
    assert!(matches!(refused, Error::Store(StoreError::Full)) && refused.is_retryable());
    for (n, mut lease) in leases.into_iter().enumerate() {
        lease.finish(&n).unwrap();
        assert!(idem.begin(&scope(), &key(n), &payload()).unwrap().is_hit());
    }
    assert!(
        idem.begin(&scope(), &key(3), &payload()).is_err(),
        "outcomes are not evicted either"
    );
}

#[test]
fn a_full_store_finds_the_room_that_expired_slots_leave_in_any_shard() {
    let (clock, idem) = small(100);
    for n in 0..100 {
        miss(&idem, n).finish(&n).unwrap();
    }
    clock.advance(HOUR);
    for n in 100..200 {
        miss(&idem, n).finish(&n).unwrap();
    }
    assert_eq!(idem.store().len(), 100);
}

#[test]
fn expired_slots_are_collected_by_the_calls_that_come() {
    let (clock, idem) = small(100_000);
    for n in 0..10_000 {
        miss(&idem, n).finish(&n).unwrap();
    }
    clock.advance(HOUR);
    for n in 10_000..20_000 {
        miss(&idem, n).finish(&n).unwrap();
    }
    assert_eq!(
        idem.store().len(),
        10_000,
        "what is new is there, what is gone is collected"
    );
}

#[test]
fn a_purge_takes_what_is_gone_and_nothing_else_and_says_how_many() {
    let (clock, idem) = small(100);
    assert_eq!(idem.store().purge(), 0);
    for n in 0..10 {
        miss(&idem, n).finish(&n).unwrap();
    }
    clock.advance(HOUR / 2);
    let lease = miss(&idem, 10);
    clock.advance(HOUR / 2);
    assert_eq!(idem.store().purge(), 10);
    assert_eq!(idem.store().len(), 1);
    drop(lease);
}

#[test]
fn forget_takes_what_begins_so_live_or_not_and_the_room_is_free() {
    let (_, idem) = small(6);
    let other = Scope::new(["user-12"]).unwrap();
    for n in 0..3 {
        let _ = miss(&idem, n).detach();
        assert!(idem.begin(&other, &key(n), &payload()).is_ok());
    }
    let name = SlotKey::new(&scope(), &key(0));
    let prefix = &name.as_bytes()[..name.as_bytes().len() - key(0).as_str().len()];
    assert_eq!(idem.store().forget(prefix), 3);
    assert_eq!(idem.store().forget(prefix), 0);
    assert_eq!(idem.store().len(), 3);
    for n in 3..6 {
        let _ = miss(&idem, n).detach();
    }
    assert_eq!(idem.store().forget(b""), 6);
    assert!(idem.store().is_empty());
}

#[test]
fn a_slot_that_was_prolonged_is_not_collected_at_its_first_deadline() {
    let (clock, idem) = small(100);
    let mut lease = miss(&idem, 0);
    clock.advance(HOUR / 2);
    lease.renew().unwrap();
    clock.advance(HOUR / 2 + Duration::from_secs(1));
    assert_eq!(idem.store().purge(), 0);
    clock.advance(HOUR / 2);
    assert_eq!(idem.store().purge(), 1);
    drop(lease);
}

#[test]
fn a_key_that_comes_and_goes_is_vacant_at_once_each_time() {
    let clock = FakeClock::new();
    let policy = Policy::while_active(HOUR).build().unwrap();
    let store = MemoryStore::with(clock.clone(), 10);
    let idem = Idempotency::builder(store).policy(policy).build();
    for round in 0..10_000 {
        clock.advance(Duration::from_millis(u64::from(round % 3 == 0)));
        miss(&idem, 1).finish(&()).unwrap();
        assert_eq!(idem.store().len(), 0);
    }
}

#[test]
fn of_many_threads_that_race_for_a_key_exactly_one_executes() {
    for callers in [2, 10, 200] {
        let idem = Idempotency::new(MemoryStore::new());
        let barrier = Arc::new(Barrier::new(callers));
        let threads: Vec<_> = (0..callers)
            .map(|_| {
                let (idem, barrier) = (idem.clone(), barrier.clone());
                std::thread::spawn(move || {
                    barrier.wait();
                    match idem.begin(&scope(), &key(0), &payload()).unwrap() {
                        Decision::Miss(lease) => Some(lease.detach()),
                        Decision::InProgress(_) => None,
                        other => panic!("{other:?}"),
                    }
                })
            })
            .collect();
        let tokens = threads
            .into_iter()
            .filter_map(|thread| thread.join().unwrap());
        assert_eq!(tokens.count(), 1, "{callers} callers");
    }
}

#[test]
fn under_threads_every_key_is_executed_once_and_replayed_as_stored() {
    let idem = Idempotency::new(MemoryStore::new());
    let executed: Vec<_> = (0..500).map(|_| AtomicUsize::new(0)).collect();
    std::thread::scope(|threads| {
        for seed in 0..8usize {
            let (idem, executed) = (&idem, &executed);
            threads.spawn(move || {
                for step in 0..4_000usize {
                    let n = (step * 7919 + seed * 104_729) % 500;
                    match idem.begin(&scope(), &key(n), &payload()).unwrap() {
                        Decision::Miss(mut lease) => {
                            executed[n].fetch_add(1, Ordering::SeqCst);
                            lease.finish(&n).unwrap();
                        }
                        Decision::Hit(replay) => assert_eq!(replay.json::<usize>().unwrap(), n),
                        Decision::InProgress(_) => {}
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
    });
    assert!(executed.iter().all(|n| n.load(Ordering::SeqCst) == 1));
}

#[test]
fn the_injected_clock_decides_and_no_other() {
    let (clock, idem) = small(10);
    miss(&idem, 0).finish(&0).unwrap();
    clock.advance(HOUR - Duration::from_millis(1));
    assert!(idem.begin(&scope(), &key(0), &payload()).unwrap().is_hit());
    clock.set(clock.now() + Duration::from_millis(1));
    assert!(idem.begin(&scope(), &key(0), &payload()).unwrap().is_miss());
}
