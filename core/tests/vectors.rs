//! The decision vectors of `tests/vectors`, run, and kept up to date: `IDEMP_BLESS=1` rewrites
//! the files. What they mean is told in `tests/vectors/README.md`.

mod story;

use std::path::PathBuf;

use idemp::{
    Begin, Expect, Fingerprint, Head, Lapse, LeaseCall, LeaseToken, Machine, NewSlot, Owner,
    Policy, Put, Resolution, Resolve, Rev, Slot, SlotError, SlotKey, Step, Swap, Swapped,
    Timestamp, Usage, Verb, Verdict, apply,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use story::*;

/// One line of `decisions.json`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Decided {
    name: String,
    slot: Option<Slot>,
    now: Timestamp,
    call: Call,
    /// The revision for the start and for every reply, in order.
    revs: Vec<Rev>,
    asked: Vec<Asked>,
    done: Value,
    slot_after: Option<Slot>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Asked {
    swap: Swap,
    reply: Swapped,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Call {
    Begin {
        slot: SlotKey,
        fingerprint: Fingerprint,
        policy: Policy,
        owner: Owner,
    },
    Lease {
        token: LeaseToken,
        verb: Verb,
    },
    Resolve {
        slot: SlotKey,
        resolution: Resolution,
        policy: Policy,
        id: Owner,
    },
}

/// One line of `apply.json`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Applied {
    name: String,
    slot: Option<Slot>,
    now: Timestamp,
    swap: Swap,
    slot_after: Option<Slot>,
    reply: Swapped,
}

fn told<T: Serialize>(done: Result<T, SlotError>) -> Value {
    match done {
        Ok(done) => json!({ "ok": done }),
        Err(SlotError::Newer { version }) => json!({ "error": { "newer": version } }),
        Err(SlotError::Corrupt) => json!({ "error": "corrupt" }),
        Err(other) => panic!("no vector comes to this: {other}"),
    }
}

/// Drives one call against one slot whose store's clock stands.
fn decide(name: &str, slot: Option<Slot>, now: Timestamp, call: Call) -> Decided {
    fn drive<M: Machine<Done = Result<T, SlotError>>, T: Serialize>(
        mut machine: M,
        slot: &mut Option<Slot>,
        now: Timestamp,
    ) -> (Vec<Rev>, Vec<Asked>, Value) {
        let (mut revs, mut asked) = (Vec::new(), Vec::new());
        let mut fresh = || {
            let rev = Rev::from_bytes([0xf0 + revs.len() as u8; 16]);
            revs.push(rev);
            rev
        };
        let mut step = machine.start(fresh());
        let done = loop {
            match step {
                Step::Done(done) => break told(done),
                Step::Ask(swap) => {
                    let reply = apply(slot, &swap, now);
                    step = machine.on_reply(reply.clone(), fresh());
                    asked.push(Asked { swap, reply });
                }
            }
        };
        (revs, asked, done)
    }
    let mut after = slot.clone();
    let (revs, asked, done) = match call.clone() {
        Call::Begin {
            slot,
            fingerprint,
            policy,
            owner,
        } => drive(
            Begin::new(slot, fingerprint, policy, owner),
            &mut after,
            now,
        ),
        Call::Lease { token, verb } => drive(LeaseCall::new(token, verb), &mut after, now),
        Call::Resolve {
            slot,
            resolution,
            policy,
            id,
        } => drive(Resolve::new(slot, resolution, policy, id), &mut after, now),
    };
    Decided {
        name: name.into(),
        slot,
        now,
        call,
        revs,
        asked,
        done,
        slot_after: after,
    }
}

/// A situation, and the token of its first owner.
type Situation = (&'static str, Story, LeaseToken);

/// Everything that can lie in the slot of an owner who begun under `policy`.
fn situations(policy: Policy) -> Vec<Situation> {
    let mut begun = Story::under(policy);
    let token = begun.lease_of(ALICE);
    let told = {
        let mut story = begun.clone();
        story.wait(30).held(&token, Verb::Publish(body("task=1")));
        story
    };
    let after = |verb: Verb| {
        let mut story = told.clone();
        let _ = story.wait(10).call(&token, verb);
        story
    };
    let lapsed = {
        let mut story = told.clone();
        story.now = story.lease_until();
        story
    };
    let past_the_ceiling = {
        let mut story = told.clone();
        story.now = 10_250;
        story
    };
    let taken_over = {
        let mut story = lapsed.clone();
        if policy.lapse() == Lapse::Takeover {
            story.lease_of(BOB);
        }
        story
    };
    let won = {
        let mut story = lapsed.clone();
        if policy.lapse() == Lapse::Takeover {
            let bob = story.lease_of(BOB);
            let _ = story.finish(&bob, "Bob's");
        }
        story
    };
    let gone = {
        let mut story = begun.clone();
        story.now = story.gone_at();
        story
    };
    let with_head = |change: fn(&mut Vec<u8>)| {
        let mut story = begun.clone();
        let slot = story.slot.as_mut().unwrap();
        let mut bytes = slot.head.as_bytes().to_vec();
        change(&mut bytes);
        slot.head = Head::from_bytes(&bytes).unwrap();
        slot.rev = Rev::from_bytes([0xdd; 16]);
        story
    };
    let mut all = vec![
        ("nothing is there", Story::under(policy)),
        ("the slot is gone", gone),
        ("the lease is live", begun.clone()),
        ("the lease is live and something is published", told.clone()),
        ("the lease has lapsed", lapsed),
        (
            "the lease has lapsed and its ceiling has passed",
            past_the_ceiling,
        ),
        ("it was released", after(Verb::Release)),
        ("it was fenced", after(Verb::Fence)),
        ("it was finished", after(Verb::Finish(body("Alice's")))),
        (
            "it was finished without a storable outcome",
            after(Verb::FinishUnstorable),
        ),
        (
            "the record is damaged",
            with_head(|bytes| bytes.truncate(20)),
        ),
        (
            "the record is of a newer version",
            with_head(|bytes| bytes[0] = 2),
        ),
    ];
    if policy.lapse() == Lapse::Takeover {
        all.push(("another owner took over", taken_over));
        all.push(("another owner took over and finished", won));
    }
    if !policy.tombstone().is_zero() {
        let mut story = after(Verb::Finish(body("Alice's")));
        story.wait(1000);
        all.push(("only a tombstone is left", story));
    }
    let token = |_: &Story| token.clone();
    all.into_iter()
        .map(|(name, story)| (name, story.clone(), token(&story)))
        .collect()
}

fn name_of(policy: &Policy) -> String {
    let usage = match policy.usage() {
        Usage::Replay => "replay",
        Usage::WhileActive => "while active",
    };
    let lapse = match policy.lapse() {
        Lapse::Takeover => "take over",
        Lapse::Fence => "fence",
    };
    let tombstone = if policy.tombstone().is_zero() {
        ""
    } else {
        ", tombstone"
    };
    format!("{usage}, {lapse}{tombstone}")
}

fn decisions() -> Vec<Decided> {
    let mut all = Vec::new();
    for policy in [
        replay(Lapse::Takeover),
        replay(Lapse::Fence),
        with_tombstone(),
        while_active(Lapse::Takeover),
        while_active(Lapse::Fence),
    ] {
        for (situation, story, token) in situations(policy) {
            // The other policies where they make a difference.
            let differs = match (policy.usage(), policy.lapse()) {
                (Usage::Replay, Lapse::Takeover) if policy.tombstone().is_zero() => true,
                (Usage::Replay, Lapse::Takeover) => situation.contains("tombstone"),
                (_, Lapse::Fence) => ["lapsed", "live", "released"]
                    .iter()
                    .any(|word| situation.ends_with(word)),
                _ => !situation.contains("record") && !situation.contains("finished"),
            };
            if !differs {
                continue;
            }
            let mut push = |what: &str, call: Call| {
                let name = format!("{}: {situation}; {what}", name_of(&policy));
                all.push(decide(&name, story.slot.clone(), AT(story.now), call));
            };
            let begin = |owner, fingerprint| Call::Begin {
                slot: slot_key(),
                fingerprint,
                policy,
                owner,
            };
            let newer = Fingerprint::from_parts(Fingerprint::VERSION + 1, *SAME.digest());
            push("begin with the same payload", begin(CAROL, SAME));
            push("begin by the same owner", begin(ALICE, SAME));
            push("begin with another payload", begin(CAROL, OTHER));
            push("begin by rules of another version", begin(CAROL, newer));
            for (what, verb) in [
                ("finish", Verb::Finish(body("Alice's"))),
                ("finish with another outcome", Verb::Finish(body("late"))),
                ("finish without a storable outcome", Verb::FinishUnstorable),
                ("fence", Verb::Fence),
                ("renew", Verb::Renew),
                ("publish", Verb::Publish(body("60 %"))),
                ("release", Verb::Release),
                ("forget", Verb::Forget),
            ] {
                // As it comes out of its text: it does not say what is published.
                let token = LeaseToken::from_text(&token.to_text()).unwrap();
                push(what, Call::Lease { token, verb });
            }
            for (what, resolution) in [
                (
                    "resolve as completed",
                    Resolution::Completed(body("by hand")),
                ),
                ("resolve as not done", Resolution::Vacant),
            ] {
                let (slot, id) = (slot_key(), OPERATOR);
                push(
                    what,
                    Call::Resolve {
                        slot,
                        resolution,
                        policy,
                        id,
                    },
                );
            }
        }
    }
    all
}

fn applications() -> Vec<Applied> {
    const A: Rev = Rev::from_bytes([0xaa; 16]);
    const B: Rev = Rev::from_bytes([0xbb; 16]);
    let lying = |rev| Slot {
        rev,
        lease_until: AT(10_100),
        gone_at: AT(11_000),
        head: Head::from_bytes(b"what core knows").unwrap(),
        body: body("what was published"),
    };
    let put = |lease, keep| {
        Put::Slot(NewSlot {
            rev: B,
            lease_for: MS(lease),
            keep_for: MS(keep),
            head: Head::from_bytes(&[0, 255, 128]).unwrap(),
            body: [0u8, 255, 254, 128][..].into(),
        })
    };
    let slots = [
        ("nothing", None),
        ("A", Some(lying(A))),
        ("another revision", Some(lying(Rev::from_bytes([0xcc; 16])))),
        ("the nil revision", Some(lying(Rev::NIL))),
    ];
    let expectations = [
        ("nothing", Expect::Vacant),
        ("A", Expect::Rev(A)),
        ("the nil revision", Expect::Rev(Rev::NIL)),
    ];
    let puts = [
        ("put", put(200, 2_000)),
        ("put a shorter lease", put(1, 1)),
        ("end the lease", put(0, 2_000)),
        ("remove", Put::Remove),
    ];
    let times = [
        ("while the lease is live", 10_099),
        ("when it lapses", 10_100),
        ("in the last moment of the slot", 10_999),
        ("when the slot is gone", 11_000),
        ("when the clock was set back", 5_000),
    ];
    let mut all = Vec::new();
    for (lies, slot) in &slots {
        for (expected, expect) in &expectations {
            for (does, put) in &puts {
                for (when, now) in times {
                    let swap = Swap {
                        slot: slot_key(),
                        expect: *expect,
                        put: put.clone(),
                    };
                    let mut after = slot.clone();
                    let reply = apply(&mut after, &swap, AT(now));
                    all.push(Applied {
                        name: format!("{lies} lies there, {expected} is expected; {does} {when}"),
                        slot: slot.clone(),
                        now: AT(now),
                        swap,
                        slot_after: after,
                        reply,
                    });
                }
            }
        }
    }
    all
}

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/vectors")
        .join(file)
}

/// One case a line, so that a change shows as the lines of the cases that changed.
fn lines<T: Serialize>(cases: &[T]) -> String {
    let lines: Vec<String> = cases
        .iter()
        .map(|case| serde_json::to_string(case).unwrap())
        .collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

fn read<T: Serialize + for<'de> Deserialize<'de>>(file: &str, cases: &[T]) -> Vec<T> {
    if std::env::var_os("IDEMP_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(path(file), lines(cases)).unwrap();
    }
    let text = std::fs::read_to_string(path(file)).unwrap();
    let (stored, made) = (text.lines(), lines(cases));
    for (stored, made) in stored.zip(made.lines()) {
        assert_eq!(stored, made, "{file} differs; IDEMP_BLESS=1 rewrites it");
    }
    assert_eq!(text.lines().count(), made.lines().count(), "{file}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn every_decision_vector_is_decided_as_it_says() {
    let stored = read("decisions.json", &decisions());
    assert!(stored.len() > 300);
    for case in stored {
        let (name, slot) = (case.name.clone(), case.slot.clone());
        assert_eq!(decide(&name, slot, case.now, case.call.clone()), case);
    }
}

#[test]
fn every_apply_vector_is_applied_as_it_says() {
    for case in read("apply.json", &applications()) {
        let mut slot = case.slot.clone();
        let reply = apply(&mut slot, &case.swap, case.now);
        assert_eq!(
            (&slot, &reply),
            (&case.slot_after, &case.reply),
            "{}",
            case.name
        );
        let lost = matches!(reply.verdict, Verdict::Lost(_));
        assert!(!lost || slot == case.slot, "{}", case.name);
    }
}

#[test]
fn the_vectors_come_to_every_answer() {
    let text = serde_json::to_string(
        &decisions()
            .iter()
            .map(|case| &case.done)
            .collect::<Vec<_>>(),
    );
    let text = text.unwrap();
    for answer in [
        "\"miss\"",
        "\"hit\"",
        "\"conflict\"",
        "\"in_progress\"",
        "\"unknown\"",
        "\"expired\"",
        "\"held\"",
        "\"ended\"",
        "\"ceiling\"",
        "\"winner\":null",
        "\"winner\":{",
        "\"done\"",
        "\"vacant\"",
        "\"not_unknown\"",
        "\"corrupt\"",
        "\"newer\"",
    ] {
        assert!(text.contains(answer), "{answer}");
    }
}

/// A change here changes what is stored: it needs a new version of the record, and the old one
/// has to be read still.
#[test]
fn the_encoded_record_of_every_state_is_as_it_was() {
    let owner = "a1".repeat(16);
    let same = "5a".repeat(32);
    let record = |state: &str, tail: &str| format!("01{state}01{same}{owner}{tail}");
    let situations = situations(replay(Lapse::Takeover));
    let mut seen = 0;
    for (situation, expected) in [
        ("the lease is live", record("01", "0100006400")),
        (
            "the lease is live and something is published",
            record("11", "018180c0b802904e6400"),
        ),
        ("it was released", record("14", "018180c0b802904e0000")),
        ("it was fenced", record("15", "018180c0b802904e0000")),
        ("it was finished", record("02", "0100000000")),
        (
            "it was finished without a storable outcome",
            record("03", "0100000000"),
        ),
    ] {
        for (name, story, _) in &situations {
            if *name == situation {
                let slot = serde_json::to_value(story.slot.as_ref().unwrap()).unwrap();
                assert_eq!(slot["head"], expected.as_str(), "{situation}");
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 6);
    let fencing = &self::situations(replay(Lapse::Fence))[2].1;
    let slot = serde_json::to_value(fencing.slot.as_ref().unwrap()).unwrap();
    assert_eq!(slot["head"], record("21", "0100006400").as_str());
}
