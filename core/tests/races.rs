//! Property tests of the races: clients, crashes, zombies, lost answers and late messages in any
//! order, on several keys, under mixed policies. Every single answer is judged by the contract,
//! a plain program written from `docs/protocol.md` (see `tests/interleavings`).
//!
//! `IDEMP_NIGHTLY=1` runs twenty times as many.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use idemp::{Clock, Key, Lapse, MemoryStore, Policy, Scope, SlotKey, Store, Timestamp};
use idemp_interleavings::event::{Budget, Event, Mirror, Setup};
use idemp_interleavings::mutant::Mutant;
use idemp_interleavings::probe::probe;
use idemp_interleavings::told::{Sight, Told};
use idemp_interleavings::world::World;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

fn cases(in_a_test_run: u32) -> u32 {
    let nightly = std::env::var_os("IDEMP_NIGHTLY").is_some_and(|value| value == "1");
    in_a_test_run * if nightly { 20 } else { 1 }
}

/// Both uses, both meanings of a lapse, with a tombstone, with spans that differ.
fn mixed_policies() -> Vec<Policy> {
    let ms = Duration::from_millis;
    let policies = [
        Policy::replay(ms(100)).lease(ms(20)).ceiling(ms(30)),
        Policy::replay(ms(60))
            .lease(ms(30))
            .ceiling(ms(90))
            .on_lapse(Lapse::Fence),
        Policy::replay(ms(50)).lease(ms(50)).tombstone(ms(40)),
        Policy::while_active(ms(100)).lease(ms(20)),
        Policy::while_active(ms(40)),
        Policy::while_active(ms(80))
            .lease(ms(10))
            .on_lapse(Lapse::Fence),
    ];
    policies.map(|policy| policy.build().unwrap()).to_vec()
}

/// One key in two scopes, and another key in one of them.
fn places() -> Vec<SlotKey> {
    let slot = |scope: [&str; 2], key: &str| {
        SlotKey::new(&Scope::new(scope).unwrap(), &Key::new(key).unwrap())
    };
    vec![
        slot(["tenant-7", "user-1"], "final-1769660861"),
        slot(["tenant-7", "user-2"], "final-1769660861"),
        slot(["tenant-7", "user-1"], "final-1769660862"),
    ]
}

fn setup(places: Vec<SlotKey>, policies: Vec<Policy>) -> Setup {
    Setup {
        places,
        policies,
        payloads: vec![1, 2, 3],
        clients: 5,
        begins: 40,
        extras: 3,
        budget: Budget {
            lost: 40,
            late: 40,
            crashes: 20,
            time: 80,
            repeats: 20,
            handed: 20,
            resolved: 10,
            set_back: 0,
        },
        moment: 5,
        ends: true,
        mutant: Mutant::None,
        mirror: None,
    }
}

/// A walk is a list of choices: of a kind of event among those that can happen, and of one of
/// that kind. Any list is a walk, so a failing one shrinks well.
#[derive(Clone)]
struct Walk(Vec<(u8, u16)>);

/// The story that comes with a failure says more than the numbers.
impl std::fmt::Debug for Walk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} steps", self.0.len())
    }
}

fn walks(steps: usize) -> impl Strategy<Value = Walk> {
    proptest::collection::vec(any::<(u8, u16)>(), 1..steps).prop_map(Walk)
}

fn kind(event: &Event) -> u8 {
    match event {
        Event::Begin { .. } => 0,
        Event::Act { .. } => 1,
        Event::Deliver { .. } => 2,
        Event::DeliverLate { .. } => 3,
        Event::Moment => 4,
        Event::Lapse { .. } => 5,
        Event::Gone { .. } => 6,
        Event::Purge { .. } => 7,
        Event::Crash { .. } => 8,
        Event::Repeat { .. } => 9,
        Event::Hand { .. } => 10,
        Event::Resolve { .. } => 11,
        Event::SetBack { .. } => 12,
    }
}

/// How often each kind is chosen, in proportion: most of the time somebody does something.
const WEIGHTS: [u32; 13] = [10, 12, 14, 4, 4, 2, 1, 1, 1, 3, 2, 1, 1];

fn choose(events: &[Event], (by_kind, within): (u8, u16)) -> Event {
    let mut kinds: Vec<u8> = events.iter().map(kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let all: u32 = kinds.iter().map(|kind| WEIGHTS[usize::from(*kind)]).sum();
    let mut left = u32::from(by_kind) * all / 256;
    let chosen = kinds.iter().find(|kind| {
        let weight = WEIGHTS[usize::from(**kind)];
        let here = left < weight;
        left = left.saturating_sub(weight);
        here
    });
    let of_kind: Vec<&Event> = events
        .iter()
        .filter(|event| Some(&kind(event)) == chosen)
        .collect();
    *of_kind[usize::from(within) % of_kind.len()]
}

/// Walks, and asks at the end what anybody could ask.
fn walk(setup: &Setup, choices: &Walk, told: &mut Told) -> Result<(), TestCaseError> {
    let mut world = World::new(setup);
    let mut so_far = Vec::new();
    let quiet = Setup {
        mirror: None,
        ..setup.clone()
    };
    let fail = |breach: &dyn std::fmt::Display, so_far: &[Event]| {
        let mut world = World::new(setup);
        let mut story = String::new();
        for event in so_far {
            let mut told = Told {
                words: Some(String::new()),
                ..Told::default()
            };
            let _ = world.step(&quiet, *event, &mut told);
            story += &format!("\n  {} {}", world.now, told.words.unwrap_or_default());
        }
        TestCaseError::fail(format!("{breach}{story}"))
    };
    for &choice in &choices.0 {
        let events = world.events(setup);
        if events.is_empty() {
            break;
        }
        let event = choose(&events, choice);
        so_far.push(event);
        if let Err(breach) = world.step(setup, event, told) {
            return Err(fail(&breach, &so_far));
        }
    }
    for place in &world.places {
        if let Err(breach) = probe(&quiet, place, world.now, &mut Told::default()) {
            return Err(fail(&breach, &so_far));
        }
    }
    Ok(())
}

/// Runs many walks and returns what they saw.
fn run(cases: u32, steps: usize, setup: impl Fn() -> Setup) -> Told {
    let config = ProptestConfig {
        cases,
        source_file: Some(file!()),
        ..ProptestConfig::default()
    };
    let told = std::cell::RefCell::new(Told::default());
    let mut runner = TestRunner::new(config);
    let ran = runner.run(&walks(steps), |choices| {
        walk(&setup(), &choices, &mut told.borrow_mut())
    });
    if let Err(error) = ran {
        panic!("{error}");
    }
    told.into_inner()
}

/// A test that never sees a race shows nothing about it.
fn assert_all_seen(told: &Told, not: &[Sight]) {
    for (sight, name) in Sight::ALL {
        let seen = told.sights[sight as usize];
        assert!(seen > 0 || not.contains(&sight), "never seen: {name}");
    }
}

#[test]
fn clients_racing_on_one_key_under_one_policy_never_break_the_contract() {
    for policy in mixed_policies() {
        let one = || setup(places()[..1].to_vec(), vec![policy]);
        let told = run(cases(600), 120, one);
        let seen = |sight: Sight| told.sights[sight as usize];
        assert!(seen(Sight::Conflict) > 0 && seen(Sight::Stale) > 0);
    }
}

#[test]
fn clients_racing_on_several_keys_under_mixed_policies_never_break_the_contract() {
    let told = run(cases(2_000), 250, || setup(places(), mixed_policies()));
    assert_all_seen(&told, &[]);
}

#[test]
fn a_clock_that_steps_back_and_forth_breaks_no_promise() {
    let told = run(cases(2_000), 200, || {
        let mut setup = setup(places()[..2].to_vec(), mixed_policies());
        setup.budget.set_back = 20;
        setup
    });
    assert_all_seen(&told, &[]);
}

#[derive(Clone, Default)]
struct HandSet(Arc<AtomicU64>);

impl Clock for HandSet {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

#[test]
fn the_memory_store_answers_every_race_as_apply_does() {
    let told = run(cases(1_000), 250, || {
        let clock = HandSet::default();
        let store = MemoryStore::with(clock.clone(), 100);
        let ask = move |swap: &idemp::Swap, now: Timestamp| {
            clock.0.store(now.as_millis(), Ordering::Relaxed);
            Store::swap(&store, swap).ok()
        };
        Setup {
            mirror: Some(Mirror(Arc::new(ask))),
            ..setup(places(), mixed_policies())
        }
    });
    assert_all_seen(&told, &[]);
}

/// The judge has to be awake: with a broken protocol the walks find it, too.
#[test]
fn the_walks_find_every_mutant() {
    for mutant in Mutant::ALL {
        let setup = Setup {
            mutant,
            ..setup(places()[..1].to_vec(), mixed_policies()[..1].to_vec())
        };
        let config = ProptestConfig {
            cases: 2_000,
            failure_persistence: None,
            max_shrink_iters: 0,
            ..ProptestConfig::default()
        };
        let mut runner = TestRunner::new_with_rng(
            config,
            proptest::test_runner::TestRng::deterministic_rng(
                proptest::test_runner::RngAlgorithm::ChaCha,
            ),
        );
        let found = runner.run(&walks(60), |choices| {
            walk(&setup, &choices, &mut Told::default())
        });
        assert!(found.is_err(), "{mutant:?}");
    }
}
