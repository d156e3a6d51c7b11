//! The ledger sees what a broken store does, and nothing where a store only fails.

use idemp::testing::{Fault, Flaky};
use idemp::{
    AsyncStore, Clock, Expect, InPlace, MaybeSend, MemoryStore, Put, Slot, SlotKey, StoreError,
    Swap, Swapped, SystemClock, apply,
};
use idemp_chaos::{Load, Report, under_load};
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How a store may break its laws.
#[derive(Clone, Copy, PartialEq)]
enum Breach {
    /// It loses everything when it is told to: a server without a disk, killed.
    Forgets,
    /// Who asks for a vacant slot gets it, whatever lies there.
    GrantsAnew,
    /// Who comes with any revision wins: a late owner overwrites.
    ComparesNothing,
    /// A body comes back changed.
    Damages,
    /// A write is acknowledged and not done.
    DoesNothing,
}

struct Broken {
    breach: Breach,
    slots: Mutex<HashMap<SlotKey, Slot>>,
}

impl Broken {
    fn new(breach: Breach) -> Self {
        let slots = Mutex::default();
        Self { breach, slots }
    }

    fn obey_mostly(&self, swap: &Swap) -> Swapped {
        let mut slots = self.slots.lock().unwrap();
        let mut slot = slots.remove(&swap.slot);
        let mut swap = swap.clone();
        let kept = slot.clone();
        match (self.breach, &mut swap) {
            (Breach::GrantsAnew, swap) if swap.expect == Expect::Vacant && chance(10) => {
                slot = None;
            }
            (Breach::ComparesNothing, swap) if swap.expect != Expect::Vacant => {
                swap.expect = slot
                    .as_ref()
                    .map_or(swap.expect, |slot| Expect::Rev(slot.rev));
            }
            (Breach::Damages, swap) => {
                if let Put::Slot(new) = &mut swap.put {
                    let body: Vec<u8> = new.body.iter().map(|byte| byte ^ 1).collect();
                    new.body = body.into();
                }
            }
            _ => {}
        }
        let reply = apply(&mut slot, &swap, SystemClock::default().now());
        if self.breach == Breach::DoesNothing && chance(10) {
            slot = kept;
        }
        if let Some(slot) = slot {
            slots.insert(swap.slot, slot);
        }
        reply
    }
}

impl AsyncStore for Broken {
    fn swap(&self, swap: &Swap) -> impl Future<Output = Result<Swapped, StoreError>> + MaybeSend {
        let reply = self.obey_mostly(swap);
        async { Ok(reply) }
    }
}

fn chance(of: u32) -> bool {
    rand::random_ratio(1, of)
}

fn load(name: &str) -> Load {
    Load {
        lease: Duration::from_millis(100),
        stall_every: 20,
        name: name.to_string(),
        ..Load::default()
    }
}

fn broken(breach: Breach) -> Report {
    let store = Arc::new(Broken::new(breach));
    let open = async || store.clone();
    let report = under_load(&load("broken"), open, |ledger| {
        ledger.wait_for_finishes(300);
        if breach == Breach::Forgets {
            store.slots.lock().unwrap().clear();
        }
        ledger.wait_for_finishes(300);
    });
    println!("{report}");
    report
}

#[test]
fn answers_that_are_lost_lose_nothing() {
    let store = Arc::new(Flaky::new(MemoryStore::new()));
    let open = async || InPlace(store.clone());
    let report = under_load(&load("lost answers"), open, |ledger| {
        for _ in 0..20 {
            store.next([
                Fault::AnswerLost,
                Fault::Lost,
                Fault::AnswerLost,
                Fault::Full,
            ]);
            ledger.wait_for_finishes(20);
        }
    });
    println!("memory, answers lost: {report}");
    report.assert_nothing_lost();
    assert!(report.failures > 0 && report.repeated > 0, "{report}");
}

#[test]
fn a_store_that_forgets_is_found_out() {
    let report = broken(Breach::Forgets);
    assert!(report.lost_outcomes >= 300, "{report}");
}

#[test]
fn a_store_that_grants_twice_is_found_out() {
    let report = broken(Breach::GrantsAnew);
    assert!(
        report.duplicates > 0 && report.lost_outcomes > 0,
        "{report}"
    );
}

#[test]
fn a_store_that_lets_a_late_owner_overwrite_is_found_out() {
    let report = broken(Breach::ComparesNothing);
    assert!(
        report.duplicates > 0 && report.lost_outcomes > 0,
        "{report}"
    );
}

#[test]
fn a_store_that_damages_outcomes_is_found_out() {
    let report = broken(Breach::Damages);
    assert!(
        report.lost_outcomes >= 600 && report.invented > 0,
        "{report}"
    );
}

#[test]
fn a_store_that_acknowledges_what_it_did_not_do_is_found_out() {
    let report = broken(Breach::DoesNothing);
    assert!(
        report.lost_outcomes > 0 && report.lost_leases > 0,
        "{report}"
    );
}
