//! Every interleaving of two clients (three with `IDEMP_NIGHTLY=1`), and of every mutant.
//!
//! Run with `--nocapture` to read the tables. A search is exhaustive for its setup: so many
//! clients, and so many lost answers, late messages, crashes and moments.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use idemp::{Key, Lapse, Policy, Scope, SlotKey, Usage};
use idemp_interleavings::event::{Budget, Setup};
use idemp_interleavings::explore::{Found, explore};
use idemp_interleavings::mutant::Mutant;
use idemp_interleavings::told::Sight;

const USES: [(Usage, Lapse); 4] = [
    (Usage::Replay, Lapse::Takeover),
    (Usage::Replay, Lapse::Fence),
    (Usage::WhileActive, Lapse::Takeover),
    (Usage::WhileActive, Lapse::Fence),
];

/// A lease of two moments, a ceiling of three, a retention of ten.
fn policy((usage, lapse): (Usage, Lapse)) -> Policy {
    let ms = Duration::from_millis;
    let policy = match usage {
        Usage::Replay => Policy::replay(ms(100)),
        Usage::WhileActive => Policy::while_active(ms(100)),
    };
    let policy = policy.lease(ms(20)).ceiling(ms(30)).on_lapse(lapse);
    policy.build().unwrap()
}

fn setup(uses: (Usage, Lapse), clients: usize, begins: u8, budget: Budget) -> Setup {
    let scope = Scope::new(["tenant-7"]).unwrap();
    Setup {
        places: vec![SlotKey::new(&scope, &Key::new("final-1769660861").unwrap())],
        policies: vec![policy(uses)],
        payloads: vec![1, 2],
        clients,
        begins,
        extras: 1,
        budget,
        moment: 10,
        ends: true,
        mutant: Mutant::None,
        mirror: None,
    }
}

fn nightly() -> bool {
    std::env::var_os("IDEMP_NIGHTLY").is_some_and(|value| value == "1")
}

/// Lost answers and late messages, each client beginning once: a client that is never heard
/// of again has crashed, and one that is heard of later is a zombie.
fn messages(uses: (Usage, Lapse), lost: u8, late: u8, time: u8) -> Setup {
    let budget = Budget {
        lost,
        late,
        time,
        ..Budget::default()
    };
    setup(uses, 2, 1, budget)
}

/// Each client begins twice and may crash in between; where a lapse fences an operator may settle
/// the slot.
fn crashes(uses: (Usage, Lapse), begins: u8, time: u8) -> Setup {
    let budget = Budget {
        crashes: 1,
        time,
        resolved: u8::from(uses == (Usage::Replay, Lapse::Fence)),
        ..Budget::default()
    };
    setup(uses, 2, begins, budget)
}

fn three(uses: (Usage, Lapse), lost: u8, late: u8) -> Setup {
    let budget = Budget {
        lost,
        late,
        time: 2,
        ..Budget::default()
    };
    setup(uses, 3, 1, budget)
}

fn searches() -> Vec<(String, Setup)> {
    let mut all = Vec::new();
    for uses in USES {
        let mut push = |what: &str, setup| {
            let usage = match uses.0 {
                Usage::Replay => "replay",
                Usage::WhileActive => "while active",
            };
            let lapse = match uses.1 {
                Lapse::Takeover => "take over",
                Lapse::Fence => "fence",
            };
            all.push((format!("{usage}, {lapse}: {what}"), setup));
        };
        if uses == USES[0] {
            push("a lost and a late message", messages(uses, 1, 1, 2));
        } else {
            push("a lost message", messages(uses, 1, 0, 3));
            push("a late message", messages(uses, 0, 1, 3));
        }
        push("crashes, begun twice", crashes(uses, 2, 2));
        if nightly() {
            push("a lost and a late message, longer", messages(uses, 1, 1, 3));
            push("crashes, begun twice, longer", crashes(uses, 2, 3));
            push("three clients, one lost answer", three(uses, 1, 0));
            push("three clients, one late message", three(uses, 0, 1));
        }
    }
    all
}

#[test]
fn no_interleaving_breaks_a_promise_and_every_kind_of_answer_is_reached() {
    let searches = searches();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, rows) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..workers.min(if nightly() { 2 } else { 4 }) {
            scope.spawn(|| {
                while let Some((name, setup)) = searches.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let start = Instant::now();
                    let found = explore(setup);
                    rows.lock()
                        .unwrap()
                        .push((name.clone(), found, start.elapsed()));
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap();
    rows.sort_by_key(|(name, ..)| searches.iter().position(|(other, _)| other == name));

    println!(
        "\n{:<60} {:>11} {:>12} {:>6} {:>7} {:>10}",
        "search", "states", "transitions", "depth", "time", "violations"
    );
    for (name, found, took) in &rows {
        println!(
            "{name:<60} {:>11} {:>12} {:>6} {:>5.1} s {:>10}",
            grouped(found.states as u64),
            grouped(found.transitions),
            found.depth,
            took.as_secs_f32(),
            usize::from(found.broken.is_some()),
        );
    }
    println!("\n{:<60} {:>11}", "seen", "times");
    for (sight, name) in Sight::ALL {
        let times: u64 = rows.iter().map(|(_, found, _)| found.saw(sight)).sum();
        println!("{name:<60} {:>11}", grouped(times));
    }
    println!();
    for (name, found, _) in &rows {
        assert!(found.broken.is_none(), "{name}\n{}", story(found));
    }
    for (sight, name) in Sight::ALL {
        let seen = rows.iter().any(|(_, found, _)| found.saw(sight) > 0);
        assert!(seen, "no search ever saw: {name}");
    }
}

/// What a mutant is caught by: the promise that its shortest trace breaks.
const CAUGHT_BY: [(Mutant, &str, &str); 9] = [
    (Mutant::UnconditionalFinish, "finish asks for nothing", "S2"),
    (
        Mutant::StatusOnlyFinish,
        "finish asks for a status, not for its revision",
        "S2",
    ),
    (
        Mutant::UnconditionalRelease,
        "release asks for nothing",
        "S2",
    ),
    (Mutant::ReleaseDeletes, "release deletes the record", "S5"),
    (
        Mutant::VanishesWithItsLease,
        "the record vanishes with its lease",
        "S5",
    ),
    (Mutant::UnguardedRenewal, "renew asks for nothing", "S2"),
    (
        Mutant::TakeOverByOwner,
        "take-over asks for the owner, not for the revision",
        "S3",
    ),
    (
        Mutant::ReusedRevision,
        "a repeated ask reuses its revision",
        "S1",
    ),
    (
        Mutant::ReadThenWrite,
        "the store reads first and writes later",
        "S1",
    ),
];

#[test]
fn every_mutant_of_the_protocol_is_caught() {
    let search = |mutant| {
        let budget = Budget {
            lost: 1,
            time: 2,
            ..Budget::default()
        };
        let setup = setup(USES[0], 2, 1, budget);
        explore(&Setup {
            mutant,
            ends: false,
            ..setup
        })
    };
    let sound = search(Mutant::None);
    assert!(sound.broken.is_none(), "{}", story(&sound));
    assert_eq!(CAUGHT_BY.map(|(mutant, ..)| mutant), Mutant::ALL);

    println!("\n{:<60} {:>11}  caught by", "mutant", "states");
    let found = CAUGHT_BY.map(|(mutant, name, promise)| (name, promise, search(mutant)));
    for (name, _, found) in &found {
        let broken = found.broken.as_ref();
        let promise = broken.map_or("NOTHING", |(breach, _)| breach.promise);
        println!("{name:<60} {:>11}  {promise}", grouped(found.states as u64));
    }
    println!(
        "{:<60} {:>11}  nothing, as it should be\n",
        "none",
        grouped(sound.states as u64)
    );
    for (name, _, found) in &found {
        println!("{name}\n{}\n", story(found));
    }
    for (name, promise, found) in &found {
        let (breach, way) = found.broken.as_ref().expect("a mutant was not caught");
        assert_eq!(breach.promise, *promise, "{name}: {breach}");
        assert!(!way.is_empty());
    }
}

/// The way to a broken promise, step by step.
fn story(found: &Found) -> String {
    let Some((breach, way)) = &found.broken else {
        return "    nothing broke".into();
    };
    let mut text = String::new();
    for (number, line) in way.iter().enumerate() {
        text += &format!("    {:>2}. {line}\n", number + 1);
    }
    text + &format!("    ==> {breach}")
}

/// Thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}
