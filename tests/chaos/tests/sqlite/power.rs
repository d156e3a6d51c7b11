//! The power fails while four threads begin and finish; then the real store opens what is left.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use idemp::{
    Body, Decision, Entropy, Fingerprint, Idempotency, Key, Scope, SlotKey, Store, StoreError,
    Swap, SystemEntropy, Verdict,
};
use idemp_sqlite::{Durability, SqliteOptions, SqliteStore};

use crate::dice::Dice;
use crate::disk::{Disk, Fault, State};
use crate::folder::{Folder, checked};
use crate::rounds;

/// What callers were told, by key: a lease (without an outcome yet), then an outcome.
type Told = HashMap<String, Option<Vec<u8>>>;

/// A moment: what callers had been told by then, and what lay on the disk.
struct Moment {
    told: Told,
    disk: State,
}

#[test]
fn a_power_loss_takes_nothing_that_was_acknowledged() {
    let mut dice = Dice::new();
    let (mut leases, mut outcomes) = (0, 0);
    for _ in 0..rounds(4, 40) {
        for moment in moments(Durability::Power, &mut dice) {
            let lost = lost(&moment, &mut dice, 3);
            assert_eq!(lost, 0, "acknowledged and gone");
            leases += moment.told.len();
            outcomes += moment.told.values().flatten().count();
        }
    }
    println!(
        "power lost: {leases} acknowledged leases, {outcomes} of them with outcomes, all there"
    );
    assert!(outcomes > 500, "{outcomes}");
}

#[test]
fn the_relaxed_mode_does_lose_what_was_acknowledged() {
    let mut dice = Dice::new();
    let (mut gone, mut told) = (0, 0);
    for moment in moments(Durability::Process, &mut dice) {
        gone += lost(&moment, &mut dice, 3);
        told += 3 * moment.told.len();
    }
    println!("relaxed: {gone} of {told} acknowledged leases or outcomes lost");
    assert!(
        gone > 0,
        "this test cannot tell a store that syncs from one that does not"
    );
}

#[test]
fn what_a_restarted_store_has_shown_survives_a_power_loss_too() {
    let mut dice = Dice::new();
    for _ in 0..rounds(3, 30) {
        // Relaxed, so that much of what was written is not synced when the processes are killed.
        let moments = moments(Durability::Process, &mut dice);
        let killed = &moments.last().unwrap().disk;
        let folder = Folder::new();
        let disk = Disk::after_a_kill(killed, folder.path());
        let store = SqliteStore::open(folder.file()).unwrap();
        let names = moments.last().unwrap().told.keys();
        let shown: Told = names
            .filter_map(|name| Some((name.clone(), shown(&store, name)?)))
            .collect();
        assert!(!shown.is_empty());
        let moment = Moment {
            told: shown,
            disk: disk.state(),
        };
        assert_eq!(lost(&moment, &mut dice, 5), 0, "shown and gone");
    }
}

#[test]
fn where_the_disk_fails_every_caller_is_told_and_nobody_is_told_wrongly() {
    for fault in [Fault::Sync, Fault::Full] {
        let folder = Folder::new();
        let disk = Disk::watch(folder.path());
        let store = Arc::new(SqliteStore::open(folder.file()).unwrap());
        let (won, failed) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
        let (stop, next) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|threads| {
            for _ in 0..16 {
                threads.spawn(|| {
                    while !stop.load(Ordering::SeqCst) {
                        let slot = slot(&next.fetch_add(1, Ordering::SeqCst).to_string());
                        match Store::swap(&*store, &claim(&slot)) {
                            Ok(reply) => {
                                assert_eq!(reply.verdict, Verdict::Won);
                                won.lock().unwrap().push(slot);
                            }
                            Err(StoreError::Unavailable(_) | StoreError::Full) => {
                                failed.fetch_add(1, Ordering::SeqCst);
                            }
                            Err(other) => panic!("{other:?}"),
                        }
                    }
                });
            }
            let wait_for = |what: &dyn Fn() -> bool| {
                while !what() {
                    std::thread::yield_now();
                }
            };
            for _ in 0..5 {
                let (before, failures) = (won.lock().unwrap().len(), failed.load(Ordering::SeqCst));
                wait_for(&|| won.lock().unwrap().len() > before + 50);
                disk.fault(Some(fault));
                wait_for(&|| failed.load(Ordering::SeqCst) > failures + 50);
                disk.fault(None);
            }
            let before = won.lock().unwrap().len();
            wait_for(&|| won.lock().unwrap().len() > before + 50);
            stop.store(true, Ordering::SeqCst);
        });
        let won = won.into_inner().unwrap();
        let moment = disk.state();
        drop(store);
        for left in [disk.state(), moment] {
            let after = Folder::new();
            left.lose_power(&mut Dice::new(), after.path());
            let store = SqliteStore::open(after.file()).unwrap();
            for slot in &won {
                assert_ne!(
                    read(&store, slot),
                    None,
                    "acknowledged between two faults, and gone"
                );
            }
        }
    }
}

#[test]
fn a_swap_alone_is_one_sync_and_a_replay_none() {
    let folder = Folder::new();
    let disk = Disk::watch(folder.path());
    let store = SqliteStore::open(folder.file()).unwrap();
    for n in 0..100 {
        let (slot, before) = (slot(&n.to_string()), disk.syncs());
        Store::swap(&store, &claim(&slot)).unwrap();
        assert_eq!(disk.syncs() - before, 1);
        Store::swap(&store, &claim(&slot)).unwrap();
        Store::swap(&store, &Swap::read(slot)).unwrap();
        assert_eq!(disk.syncs() - before, 1);
    }
}

/// Runs a store under load and takes moments at random; the load is enough for several checkpoints.
fn moments(durability: Durability, dice: &mut Dice) -> Vec<Moment> {
    let folder = Folder::new();
    let disk = Disk::watch(folder.path());
    let options = SqliteOptions::new().durability(durability);
    let idem = Idempotency::new(options.open(folder.file()).unwrap());
    let (told, stop) = (Mutex::new(Told::new()), AtomicBool::new(false));
    let mut moments = Vec::new();
    std::thread::scope(|threads| {
        for thread in 0..4 {
            let (idem, told, stop) = (&idem, &told, &stop);
            threads.spawn(move || {
                for n in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let name = format!("{thread}-{n}");
                    let decision = idem.begin(&scope(), &Key::new(&*name).unwrap(), &payload());
                    let Decision::Miss(mut lease) = decision.unwrap() else {
                        panic!("nobody else has this key")
                    };
                    told.lock().unwrap().insert(name.clone(), None);
                    let outcome = outcome(&name);
                    lease.finish_bytes(outcome.clone()).unwrap();
                    told.lock().unwrap().insert(name, Some(outcome));
                }
            });
        }
        for _ in 0..8 {
            std::thread::sleep(Duration::from_millis(5 + dice.below(60) as u64));
            // First what was told, then what lies there: it cannot have been told later.
            let told = told.lock().unwrap().clone();
            moments.push(Moment {
                told,
                disk: disk.state(),
            });
        }
        stop.store(true, Ordering::SeqCst);
    });
    moments
}

/// How many of what callers were told is not so, in so many ways in which the power may fail.
fn lost(moment: &Moment, dice: &mut Dice, ways: usize) -> usize {
    let mut lost = 0;
    for _ in 0..ways {
        let folder = Folder::new();
        moment.disk.lose_power(dice, folder.path());
        let store = SqliteStore::open(folder.file()).unwrap();
        let is_so = |(name, outcome): &(&String, &Option<Vec<u8>>)| match shown(&store, name) {
            None => false,
            // The outcome may be there before its caller heard of it; the other way round never.
            Some(there) => outcome.is_none() || there == **outcome,
        };
        lost += moment.told.iter().filter(|told| !is_so(told)).count();
        drop(store);
        assert_eq!(checked(&folder), "ok");
    }
    lost
}

/// What the store says of a key: nothing, a lease, or an outcome.
fn shown(store: &SqliteStore, name: &str) -> Option<Option<Vec<u8>>> {
    let slot = read(store, &slot(name))?;
    Some((!slot.body.is_empty()).then(|| slot.body.to_vec()))
}

fn read(store: &SqliteStore, slot: &SlotKey) -> Option<idemp::Slot> {
    match Store::swap(store, &Swap::read(slot.clone()))
        .unwrap()
        .verdict
    {
        Verdict::Lost(slot) => slot,
        Verdict::Won => panic!("a read never wins"),
    }
}

fn scope() -> Scope {
    Scope::new(["tenant-7"]).unwrap()
}

fn payload() -> Fingerprint {
    Fingerprint::of_bytes(b"one request")
}

fn slot(name: &str) -> SlotKey {
    SlotKey::new(&scope(), &Key::new(name).unwrap())
}

fn claim(slot: &SlotKey) -> Swap {
    Swap {
        slot: slot.clone(),
        expect: idemp::Expect::Vacant,
        put: idemp::Put::Slot(idemp::NewSlot {
            rev: idemp::Rev::from_bytes(SystemEntropy.bytes()),
            lease_for: Duration::from_secs(30),
            keep_for: Duration::from_secs(3600),
            head: idemp::Head::from_bytes(&[1; 60]).unwrap(),
            body: Body::default(),
        }),
    }
}

/// An outcome that tells of which key it is, some of many pages.
fn outcome(name: &str) -> Vec<u8> {
    let length = name.bytes().map(usize::from).sum::<usize>() % 7 * 3000 + 1;
    name.bytes().cycle().take(length.max(name.len())).collect()
}
