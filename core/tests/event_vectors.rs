//! The events as data, in `tests/vectors/events.json`: stories, and the lines that are told on the
//! way, which other languages run too. `IDEMP_BLESS=1` rewrites the file.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use idemp::testing::FakeClock;
use idemp::{
    Decision, Event, Fingerprint, Head, Idempotency, Key, Lapse, LeaseToken, MemoryStore, Policy,
    Resolution, Scope, Slot, Store, StoreError, Swap, Swapped, Verdict,
};
use serde_json::{Value, json};

/// A story to tell: who asks for what, under which policy.
struct Story {
    name: String,
    scope: Vec<String>,
    key: String,
    user_part: usize,
    policy: Value,
    steps: Vec<Value>,
}

/// A store that fails as it is told, by the code that the failure has elsewhere.
struct Faulty {
    inner: MemoryStore,
    fault: Arc<Mutex<Option<String>>>,
}

impl Store for Faulty {
    fn swap(&self, swap: &Swap) -> Result<Swapped, StoreError> {
        match self.fault.lock().unwrap().as_deref() {
            None => self.inner.swap(swap),
            Some("STORE_UNAVAILABLE") => Err(StoreError::Unavailable(None)),
            Some("STORE_FULL") => Err(StoreError::Full),
            Some("STORE_CORRUPT") => Err(StoreError::Corrupt(None)),
            Some("STORE_UNUSABLE") => Err(StoreError::Unusable(None)),
            Some("STORE_CLOSED") => Err(StoreError::Closed),
            Some("RECORD_CORRUPT") => {
                let mut reply = self.inner.swap(swap)?;
                if let Verdict::Lost(Some(slot)) = reply.verdict {
                    let head = Head::from_bytes(b"?").unwrap();
                    reply.verdict = Verdict::Lost(Some(Slot { head, ..slot }));
                }
                Ok(reply)
            }
            Some(other) => panic!("no fault is called {other}"),
        }
    }
}

fn policy(of: &Value) -> Policy {
    let span = |name: &str| of[name].as_u64().map(Duration::from_millis);
    let retention = span("retention").unwrap();
    let mut builder = match of["usage"].as_str() {
        Some("while-active") => Policy::while_active(retention),
        _ => Policy::replay(retention),
    };
    if let Some(lease) = span("lease") {
        builder = builder.lease(lease);
    }
    if let Some(ceiling) = span("ceiling") {
        builder = builder.ceiling(ceiling);
    }
    if let Some(tombstone) = span("tombstone") {
        builder = builder.tombstone(tombstone);
    }
    if of["onLapse"] == "fence" {
        builder = builder.on_lapse(Lapse::Fence);
    }
    builder.build().unwrap()
}

/// Plays the story, and writes to each step what was told meanwhile.
fn played(story: Story) -> Value {
    let clock = FakeClock::new();
    let fault = Arc::new(Mutex::new(None));
    let told = Arc::new(Mutex::new(Vec::new()));
    let store = Faulty {
        inner: MemoryStore::with(clock.clone(), 100),
        fault: fault.clone(),
    };
    let heard = told.clone();
    let idem = Idempotency::builder(store)
        .policy(policy(&story.policy))
        .user_part(story.user_part)
        .label(|bytes| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            (!text.is_empty()).then_some(text)
        })
        .observer(move |event: &Event<'_>| {
            heard.lock().unwrap().push(json!({
                "line": event.to_string(),
                "kind": event.kind().word(),
                "user": event.user(),
                "key": event.key(),
                "task": event.task(),
                "warning": event.is_warning(),
            }));
        })
        .build();
    let scope = Scope::new(&story.scope).unwrap();
    let key = Key::new(story.key.as_str()).unwrap();
    let mut leases: HashMap<String, LeaseToken> = HashMap::new();
    let steps: Vec<Value> = story
        .steps
        .into_iter()
        .map(|mut step| {
            let text = |name: &str| step[name].as_str().map(str::to_owned);
            let body = || text("body").unwrap().into_bytes();
            let verb = text("do").unwrap();
            match verb.as_str() {
                "advance" => clock.advance(Duration::from_millis(step["ms"].as_u64().unwrap())),
                "fault" => *fault.lock().unwrap() = text("code"),
                "begin" => {
                    let payload = step["payload"].as_u64().unwrap().try_into().unwrap();
                    let payload = Fingerprint::from_parts(1, [payload; 32]);
                    if let Ok(Decision::Miss(lease)) = idem.begin(&scope, &key, &payload) {
                        leases.insert(text("as").unwrap(), lease.detach());
                    }
                }
                "resolve" => {
                    let outcome = text("body").map(String::into_bytes);
                    let resolution = outcome.map_or(Resolution::Vacant, |outcome| {
                        Resolution::Completed(outcome.into())
                    });
                    let _ = idem.resolve(&scope, &key, resolution);
                }
                _ => {
                    let held = leases.get_mut(&text("as").unwrap()).unwrap();
                    let mut lease = idem.resume(held.clone());
                    // What it comes to is told.
                    let _ = match verb.as_str() {
                        "renew" => lease.renew(),
                        "publish" => lease.publish_bytes(body()),
                        "finish" => lease.finish_bytes(body()),
                        "unstorable" => lease.finish_unstorable(),
                        "fence" => lease.mark_unknown(),
                        "release" => lease.release(),
                        "forget" => lease.forget(),
                        other => panic!("nobody can {other}"),
                    };
                    *held = lease.detach();
                }
            }
            step["told"] = std::mem::take(&mut *told.lock().unwrap()).into();
            step
        })
        .collect();
    json!({
        "name": story.name,
        "scope": story.scope,
        "key": story.key,
        "userPart": story.user_part,
        "policy": story.policy,
        "steps": steps,
    })
}

const DAY: u64 = 86_400_000;

fn story(name: impl Into<String>, policy: Value, steps: Vec<Value>) -> Story {
    Story {
        name: name.into(),
        scope: vec!["793ccc64-0000-4000-8000-000000000000".into()],
        key: "final-1769660861".into(),
        user_part: 0,
        policy,
        steps,
    }
}

fn begin(payload: u8, who: &str) -> Value {
    json!({ "do": "begin", "payload": payload, "as": who })
}

fn verb(verb: &str, who: &str) -> Value {
    json!({ "do": verb, "as": who })
}

fn says(verb: &str, who: &str, body: &str) -> Value {
    json!({ "do": verb, "as": who, "body": body })
}

fn resolve(body: Option<&str>) -> Value {
    json!({ "do": "resolve", "body": body })
}

fn advance(ms: u64) -> Value {
    json!({ "do": "advance", "ms": ms })
}

fn fault(code: Option<&str>) -> Value {
    json!({ "do": "fault", "code": code })
}

/// A policy that replays, with a lease of 100 ms up to 250 ms.
fn short() -> Value {
    json!({ "retention": 10_000, "lease": 100, "ceiling": 250 })
}

fn stories() -> Vec<Story> {
    let day = || json!({ "retention": DAY });
    let mut stories = vec![
        story(
            "the lines that the users know",
            day(),
            vec![
                begin(1, "alice"),
                says("finish", "alice", "vt_4e80c173"),
                begin(1, "bob"),
                begin(2, "eve"),
            ],
        ),
        story(
            "an outcome without a label",
            day(),
            vec![
                begin(1, "alice"),
                says("finish", "alice", ""),
                begin(1, "bob"),
            ],
        ),
        story(
            "a label is written as it is: what may stand in a log, the label decides",
            day(),
            vec![
                begin(1, "alice"),
                says("publish", "alice", "a\tb\u{1b}[31m\u{85}"),
                says("finish", "alice", "größe 🎬 \u{2028}"),
                begin(1, "bob"),
            ],
        ),
        story(
            "a finish that is repeated",
            day(),
            vec![
                begin(1, "alice"),
                says("finish", "alice", "vt_1"),
                says("finish", "alice", "vt_1"),
            ],
        ),
        story(
            "work that is active",
            json!({ "usage": "while-active", "retention": DAY }),
            vec![
                begin(1, "alice"),
                begin(1, "bob"),
                says("publish", "alice", "vt_1"),
                begin(1, "bob"),
                begin(2, "eve"),
                verb("renew", "alice"),
                says("finish", "alice", "vt_1 is done"),
                begin(2, "eve"),
                verb("unstorable", "eve"),
                begin(1, "alice"),
                verb("fence", "alice"),
                begin(1, "bob"),
            ],
        ),
        story(
            "attempts are counted, and only the first forgets",
            day(),
            vec![
                begin(1, "alice"),
                verb("forget", "alice"),
                begin(2, "bob"),
                verb("release", "bob"),
                begin(2, "carol"),
                verb("forget", "carol"),
                begin(2, "dave"),
            ],
        ),
        story(
            "an outcome that nobody knows, until it is resolved",
            day(),
            vec![
                begin(1, "alice"),
                resolve(Some("too early")),
                verb("fence", "alice"),
                begin(1, "bob"),
                resolve(Some("vt_2")),
                begin(1, "bob"),
                resolve(None),
            ],
        ),
        story(
            "an outcome that could not be stored",
            day(),
            vec![
                resolve(None),
                begin(1, "alice"),
                verb("unstorable", "alice"),
                begin(1, "bob"),
                resolve(None),
                begin(2, "eve"),
            ],
        ),
        story(
            "a lease that lapsed is taken over, and its owner comes too late for everything",
            short(),
            vec![
                begin(1, "alice"),
                advance(100),
                begin(1, "bob"),
                verb("renew", "alice"),
                says("publish", "alice", "late"),
                says("finish", "alice", "late"),
                verb("unstorable", "alice"),
                verb("fence", "alice"),
                verb("release", "alice"),
                verb("forget", "alice"),
                says("finish", "bob", "won"),
                says("finish", "alice", "late"),
            ],
        ),
        story(
            "a lease that lapsed fences, where the policy says so",
            json!({ "retention": 10_000, "lease": 100, "onLapse": "fence" }),
            vec![begin(1, "alice"), advance(100), begin(1, "bob")],
        ),
        story(
            "a lease reaches its ceiling",
            short(),
            vec![
                begin(1, "alice"),
                advance(99),
                verb("renew", "alice"),
                advance(99),
                verb("renew", "alice"),
                advance(51),
                verb("renew", "alice"),
                says("publish", "alice", "vt_1"),
            ],
        ),
        story(
            "an outcome expires",
            json!({ "retention": 1000, "lease": 100, "tombstone": 500 }),
            vec![
                begin(1, "alice"),
                says("finish", "alice", "vt_1"),
                advance(1000),
                begin(1, "bob"),
                begin(2, "eve"),
            ],
        ),
    ];
    for code in [
        "STORE_UNAVAILABLE",
        "STORE_FULL",
        "STORE_CORRUPT",
        "STORE_UNUSABLE",
        "STORE_CLOSED",
        "RECORD_CORRUPT",
    ] {
        // What wins shows no record: so something lies there that is not expected.
        let steps = vec![
            begin(1, "alice"),
            advance(100),
            begin(1, "bob"),
            fault(Some(code)),
            begin(1, "carol"),
            verb("renew", "alice"),
            says("publish", "alice", "vt_1"),
            says("finish", "alice", "vt_1"),
            verb("unstorable", "alice"),
            verb("fence", "alice"),
            verb("release", "alice"),
            verb("forget", "alice"),
            resolve(Some("vt_1")),
            fault(None),
            says("finish", "bob", "vt_1"),
        ];
        stories.push(story(format!("the store fails: {code}"), short(), steps));
    }
    for retention in [
        1,
        999,
        1000,
        1500,
        59_000,
        60_000,
        90_000,
        5_400_000,
        3_600_000,
        DAY,
        7 * DAY,
        DAY + 1,
        36_500 * DAY,
    ] {
        stories.push(story(
            format!("a retention of {retention} ms"),
            json!({ "retention": retention, "lease": retention.min(60_000) }),
            vec![begin(1, "alice"), says("finish", "alice", "vt_1")],
        ));
    }
    for remaining in [
        1, 999, 1000, 1001, 59_001, 60_000, 90_000, 3_599_000, 21_599_978,
    ] {
        stories.push(story(
            format!("{remaining} ms are left of a lease"),
            json!({ "retention": DAY, "lease": remaining + 22, "ceiling": DAY }),
            vec![begin(1, "alice"), advance(22), begin(1, "bob")],
        ));
    }
    for text in [
        "k",
        "kl",
        "klm",
        "fifteen-letters",
        "sixteen-letters!",
        "seventeen-letters",
        "größe-über-alles-äöü",
        "日本語の鍵",
        "🎬🎬🎬🎬🎬🎬🎬🎬🎬🎬🎬🎬🎬🎬🎬🎬🎬",
        "a🎬b🎬c🎬d🎬e🎬f🎬g🎬h🎬i🎬j",
        "e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}",
        "مفتاح-طلب-الدفع-الأول",
        "line\u{2028}separator and\u{a0}no-break",
        "a \"quoted\" \\ key",
    ] {
        let of_both = story(
            format!("{text}, as a key and as a user"),
            day(),
            vec![begin(1, "alice")],
        );
        stories.push(Story {
            scope: vec!["tenant".into(), text.into()],
            key: text.into(),
            user_part: 1,
            ..of_both
        });
    }
    stories.push(Story {
        scope: vec!["tenant-of-many".into()],
        key: "k".repeat(255),
        user_part: 7,
        ..story(
            "a user that is no part of the scope, and the longest key",
            day(),
            vec![begin(1, "alice")],
        )
    });
    stories
}

#[test]
fn the_events_of_every_story_are_those_that_are_written_down() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/events.json");
    let rows: Vec<String> = stories()
        .into_iter()
        .map(|story| played(story).to_string())
        .collect();
    let text = format!("[\n{}\n]\n", rows.join(",\n"));
    for word in [
        "CHECK",
        "MISS",
        "HIT",
        "CONFLICT",
        "IN_PROGRESS",
        "UNKNOWN",
        "EXPIRED",
        "STORE START",
        "STORED",
        "UNSTORABLE",
        "VACATED",
        "FENCED",
        "RENEWED",
        "PUBLISHED",
        "RELEASED",
        "FORGOTTEN",
        "STALE",
        "CEILING",
        "RESOLVED",
        "FAILED",
    ] {
        assert!(
            text.contains(&format!("\"kind\":\"{word}\"")),
            "no story tells {word}"
        );
    }
    if std::env::var_os("IDEMP_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "tests/vectors/events.json is out of date: IDEMP_BLESS=1 rewrites it"
    );
}
