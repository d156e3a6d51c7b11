//! The façade: guards, lost answers, late owners, events. The blocking driver here, the async one
//! in `facade_async.rs`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use idemp::testing::{FakeClock, Fault, Flaky};
use idemp::{
    Builder, Decision, Error, EventKind, Fingerprint, Idempotency, Key, Lapse, Lease, LeaseError,
    LeaseToken, MemoryStore, Policy, Resolution, Resolved, RunError, Scope, StoreError,
    SystemEntropy,
};

type Store = Flaky<MemoryStore>;

const LEASE: Duration = Duration::from_secs(60);

struct Bench {
    clock: FakeClock,
    idem: Idempotency<Store>,
    lines: Arc<Mutex<Vec<String>>>,
}

fn bench_with(policy: Policy) -> Bench {
    let clock = FakeClock::new();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let heard = lines.clone();
    let store = Flaky::new(MemoryStore::with(clock.clone(), 1000));
    let idem = Builder::with(store, SystemEntropy, clock.clone())
        .policy(policy)
        .observer(move |event: &idemp::Event<'_>| heard.lock().unwrap().push(event.to_string()))
        .label(|outcome| serde_json::from_slice(outcome).ok())
        .build();
    Bench { clock, idem, lines }
}

fn bench() -> Bench {
    bench_with(Policy::default())
}

impl Bench {
    fn begin(&self, payload: u8) -> Decision<Lease<Store>> {
        self.try_begin(payload).unwrap()
    }

    fn try_begin(&self, payload: u8) -> Result<Decision<Lease<Store>>, Error> {
        self.idem
            .begin(&scope(), &key(), &Fingerprint::from_parts(1, [payload; 32]))
    }

    fn miss(&self) -> Lease<Store> {
        match self.begin(1) {
            Decision::Miss(lease) => lease,
            other => panic!("expected a miss, not {other:?}"),
        }
    }

    fn words(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        lines
            .iter()
            .map(|line| line.split("user").next().unwrap()[8..].trim().into())
            .collect()
    }
}

fn scope() -> Scope {
    Scope::new(["793ccc64-user", "POST /api/video-tasks"]).unwrap()
}

fn key() -> Key {
    Key::new("final-1769660861").unwrap()
}

#[test]
fn a_dropped_lease_is_released_at_once_and_stays_bound_to_its_payload() {
    let bench = bench();
    drop(bench.miss());
    assert!(matches!(bench.begin(2), Decision::Conflict));
    assert_eq!(bench.miss().attempt(), 2);
}

#[test]
fn a_panic_in_the_work_releases() {
    let bench = bench();
    let work = std::panic::AssertUnwindSafe(|| {
        let _lease = bench.miss();
        panic!("the work fails");
    });
    assert!(std::panic::catch_unwind(work).is_err());
    assert_eq!(bench.miss().attempt(), 2);
}

#[test]
fn a_detached_lease_is_left_alone_and_ended_elsewhere_by_its_token() {
    let bench = bench();
    let text = bench.miss().detach().to_text();
    assert!(matches!(bench.begin(1), Decision::InProgress(_)));
    let token = LeaseToken::from_text(&text).unwrap();
    bench.idem.resume(token).finish("vt_1").unwrap();
    assert!(bench.begin(1).is_hit());
}

#[test]
fn a_begin_whose_answer_was_lost_gets_the_same_lease() {
    let bench = bench();
    bench.idem.store().next([Fault::AnswerLost]);
    let mut lease = bench.miss();
    assert_eq!(lease.attempt(), 1);
    lease.finish("vt_1").unwrap();
    assert!(bench.begin(1).is_hit());
}

#[test]
fn an_error_is_never_a_miss() {
    let bench = bench();
    for fault in [Fault::Lost, Fault::AnswerLost, Fault::Full, Fault::Hang] {
        bench.idem.store().next([fault, fault]);
        let error = bench.try_begin(1).unwrap_err();
        assert!(error.is_retryable(), "{error}");
        // What the fault left behind: `Full` and `Hang` are not asked again.
        bench.idem.store().next([Fault::None]);
        let _ = bench.try_begin(1);
        bench.clock.advance(LEASE);
    }
}

#[test]
fn a_finish_whose_answer_was_lost_is_a_success() {
    let bench = bench();
    let mut lease = bench.miss();
    bench.idem.store().next([Fault::AnswerLost]);
    lease.finish("vt_1").unwrap();
    assert!(bench.begin(1).is_hit());
}

#[test]
fn a_finish_that_fails_releases_nothing_and_may_be_repeated() {
    let bench = bench();
    let mut lease = bench.miss();
    bench.idem.store().next([Fault::Lost, Fault::Lost]);
    assert!(matches!(
        lease.finish("vt_1"),
        Err(LeaseError::Store(StoreError::Unavailable(_)))
    ));
    assert!(
        matches!(bench.begin(1), Decision::InProgress(_)),
        "nobody executes within the lease"
    );
    lease.finish("vt_1").unwrap();
    assert!(bench.begin(1).is_hit());
}

#[test]
fn after_a_finish_that_failed_a_drop_does_not_release() {
    let bench = bench();
    let mut lease = bench.miss();
    bench.idem.store().next([Fault::Lost, Fault::Lost]);
    assert!(lease.finish("vt_1").is_err());
    drop(lease);
    assert!(matches!(bench.begin(1), Decision::InProgress(_)));
}

#[test]
fn a_late_owner_is_told_the_winners_outcome_and_changes_nothing() {
    let bench = bench();
    let mut late = bench.miss();
    bench.clock.advance(LEASE);
    bench.miss().finish("vt_winner").unwrap();
    let error = late.finish("vt_late").unwrap_err();
    assert_eq!(error.winner().unwrap().as_ref(), b"\"vt_winner\"");
    drop(late);
    let Decision::Hit(hit) = bench.begin(1) else {
        panic!("it is finished")
    };
    assert_eq!(hit.json::<String>().unwrap(), "vt_winner");
}

#[test]
fn remaining_counts_from_before_the_ask_less_a_margin() {
    let bench = bench();
    let mut lease = bench.miss();
    assert_eq!(lease.remaining(), LEASE * 19 / 20);
    bench.clock.advance(LEASE / 2);
    assert_eq!(lease.remaining(), LEASE * 9 / 20);
    lease.renew().unwrap();
    assert_eq!(lease.remaining(), LEASE * 19 / 20);
    bench.clock.advance(LEASE);
    assert_eq!(lease.remaining(), Duration::ZERO);
}

#[test]
fn a_token_that_travelled_promises_no_time_until_it_heard_of_the_store() {
    let bench = bench();
    let mut lease = bench.idem.resume(bench.miss().detach());
    assert_eq!(lease.remaining(), Duration::ZERO);
    lease.renew().unwrap();
    assert!(lease.remaining() > Duration::ZERO);
}

#[test]
fn what_was_published_reaches_duplicates_and_the_next_attempt() {
    let bench = bench();
    let mut lease = bench.miss();
    lease.publish("step 1").unwrap();
    let Decision::InProgress(other) = bench.begin(1) else {
        panic!("it is in progress")
    };
    assert_eq!(other.json::<String>().unwrap().unwrap(), "step 1");
    drop(lease);
    assert_eq!(bench.miss().published().unwrap().as_ref(), b"\"step 1\"");
}

#[test]
fn a_renewal_by_a_token_that_travelled_keeps_what_was_published() {
    let bench = bench();
    let mut lease = bench.miss();
    lease.publish("step 1").unwrap();
    let token = LeaseToken::from_text(&lease.detach().to_text()).unwrap();
    bench.idem.resume(token).renew().unwrap();
    assert_eq!(
        bench.miss().published().unwrap().as_ref(),
        b"\"step 1\"",
        "the drop released"
    );
}

#[test]
fn run_executes_once_and_replays_the_value() {
    let bench = bench();
    let run = |n: u32| {
        let work = |_: &mut Lease<Store>| Ok::<_, std::io::Error>(n);
        bench.idem.run(&scope(), &key(), "payload", work)
    };
    assert_eq!(run(1).unwrap(), 1);
    assert_eq!(run(2).unwrap(), 1);
    let other = bench
        .idem
        .run(&scope(), &key(), "other", |_| Ok::<_, std::io::Error>(3));
    assert!(matches!(other, Err(RunError::Conflict)));
}

#[test]
fn run_executes_nothing_where_the_process_stood_still_since_its_claim() {
    let clock = FakeClock::new();
    let ahead = clock.clone();
    let idem = Builder::with(MemoryStore::with(clock.clone(), 1000), SystemEntropy, clock)
        .observer(move |event: &idemp::Event<'_>| {
            if matches!(event.kind(), EventKind::Miss { attempt: 1 }) {
                ahead.advance(LEASE - LEASE / 20);
            }
        })
        .build();
    let refused = idem.run::<(), ()>(&scope(), &key(), "payload", |_| panic!("it was run"));
    assert!(matches!(refused, Err(RunError::InProgress(_))));
    assert_eq!(idem.store().len(), 0, "the claim was given back");
}

#[test]
fn run_releases_when_the_work_fails_and_returns_its_error() {
    let bench = bench();
    let failed = bench
        .idem
        .run::<(), _>(&scope(), &key(), "payload", |_| Err("no"));
    assert!(matches!(failed, Err(RunError::Work("no"))));
    let run = bench.idem.run(&scope(), &key(), "payload", |lease| {
        Ok::<_, ()>(lease.attempt())
    });
    assert_eq!(run.unwrap(), 2);
}

#[test]
fn run_keeps_the_original_error_when_the_release_fails() {
    let bench = bench();
    let failed = bench.idem.run::<(), _>(&scope(), &key(), "payload", |_| {
        bench.idem.store().next([Fault::Lost, Fault::Lost]);
        Err("no")
    });
    assert!(matches!(failed, Err(RunError::Work("no"))));
}

#[test]
fn run_returns_the_value_though_it_could_not_be_stored() {
    let bench = bench();
    let value = bench.idem.run(&scope(), &key(), "payload", |_| {
        bench.idem.store().next([Fault::Lost, Fault::Lost]);
        Ok::<_, ()>(7)
    });
    assert_eq!(value.unwrap(), 7);
    let again = bench
        .idem
        .run(&scope(), &key(), "payload", |_| Ok::<_, ()>(8));
    assert!(
        matches!(again, Err(RunError::InProgress(_))),
        "nobody executes within the lease"
    );
}

#[test]
fn an_uncertain_failure_is_fenced_until_it_is_resolved() {
    let bench = bench();
    let failed = bench
        .idem
        .run::<u8, _>(&scope(), &key(), "payload", |lease| {
            lease.mark_unknown().unwrap();
            Err("timed out after the charge was sent")
        });
    assert!(matches!(failed, Err(RunError::Work(_))));
    let again =
        |idem: &Idempotency<Store>| idem.run(&scope(), &key(), "payload", |_| Ok::<_, ()>(9));
    assert!(matches!(again(&bench.idem), Err(RunError::Unknown)));
    let resolution = Resolution::Completed(b"5"[..].into());
    assert_eq!(
        bench.idem.resolve(&scope(), &key(), resolution).unwrap(),
        Resolved::Done
    );
    assert_eq!(again(&bench.idem).unwrap(), 5);
}

#[test]
fn a_value_that_is_not_json_fences_the_key_since_the_work_is_done() {
    let bench = bench();
    let mut lease = bench.miss();
    let unstorable = std::collections::BTreeMap::from([((1, 2), 3)]);
    assert!(matches!(
        lease.finish(&unstorable),
        Err(LeaseError::Value(_))
    ));
    assert!(matches!(bench.begin(1), Decision::Unknown));
}

#[test]
fn while_active_duplicates_join_and_the_end_vacates() {
    let bench = bench_with(
        Policy::while_active(Duration::from_secs(3600))
            .build()
            .unwrap(),
    );
    let mut lease = bench.miss();
    lease.publish("task_1").unwrap();
    let Decision::InProgress(other) = bench.begin(1) else {
        panic!("it is active")
    };
    assert_eq!(other.json::<String>().unwrap().unwrap(), "task_1");
    let token = lease.detach();
    bench.idem.resume(token.clone()).finish("done").unwrap();
    bench
        .idem
        .resume(token)
        .finish("done")
        .expect("ending twice is a success");
    assert_eq!(bench.miss().attempt(), 1);
}

#[test]
fn a_lapse_is_fenced_where_the_policy_says_so() {
    let policy = Policy::replay(Duration::from_secs(3600))
        .on_lapse(Lapse::Fence)
        .build()
        .unwrap();
    let bench = bench_with(policy);
    let mut lease = bench.miss();
    bench.clock.advance(LEASE);
    assert!(matches!(bench.begin(1), Decision::Unknown));
    lease
        .finish("vt_1")
        .expect("a late finish is accepted while nobody took over");
    assert!(bench.begin(1).is_hit());
}

#[test]
fn an_operator_frees_a_key_and_is_refused_while_its_owner_lives() {
    let bench = bench();
    let resolve = || {
        bench
            .idem
            .resolve(&scope(), &key(), Resolution::Vacant)
            .unwrap()
    };
    assert_eq!(resolve(), Resolved::Vacant);
    let mut lease = bench.miss();
    assert_eq!(resolve(), Resolved::NotUnknown);
    lease.mark_unknown().unwrap();
    bench.idem.store().next([Fault::None, Fault::AnswerLost]);
    assert_eq!(resolve(), Resolved::Done);
    assert!(
        matches!(bench.begin(2), Decision::Miss(_)),
        "free for any payload"
    );
}

#[test]
fn the_log_tells_the_story_and_no_secret() {
    let bench = bench();
    bench.miss().finish("vt_4e80c173").unwrap();
    assert!(bench.begin(1).is_hit());
    assert!(matches!(bench.begin(2), Decision::Conflict));
    assert_eq!(
        *bench.lines.lock().unwrap(),
        [
            "[IDEMP] CHECK user=793ccc... key=final-17...",
            "[IDEMP] MISS user=793ccc... key=final-17...",
            "[IDEMP] STORE START user=793ccc... key=final-17... task=vt_4e80c173",
            "[IDEMP] STORED user=793ccc... key=final-17... → task=vt_4e80c173 (TTL=24h)",
            "[IDEMP] CHECK user=793ccc... key=final-17...",
            "[IDEMP] HIT user=793ccc... key=final-17... → task=vt_4e80c173",
            "[IDEMP] CHECK user=793ccc... key=final-17...",
            "[IDEMP] CONFLICT user=793ccc... key=final-17... payload mismatch",
        ]
    );
}

#[test]
fn every_verb_has_its_event() {
    let bench = bench();
    let mut lease = bench.miss();
    lease.renew().unwrap();
    lease.publish("x").unwrap();
    lease.release().unwrap();
    let mut lease = bench.miss();
    lease.mark_unknown().unwrap();
    bench
        .idem
        .resolve(&scope(), &key(), Resolution::Vacant)
        .unwrap();
    bench.miss().forget().unwrap();
    bench.miss().finish_unstorable().unwrap();
    bench.idem.store().next([Fault::Full]);
    let _ = bench.try_begin(1);
    let expected = "CHECK MISS RENEWED PUBLISHED RELEASED CHECK MISS FENCED RESOLVED CHECK MISS \
                    FORGOTTEN CHECK MISS UNSTORABLE CHECK FAILED";
    assert_eq!(bench.words().join(" "), expected);
}

#[test]
fn an_observer_that_panics_changes_nothing() {
    let store = MemoryStore::new();
    let idem = Idempotency::builder(store)
        .observer(|event: &idemp::Event<'_>| {
            if event.kind() == EventKind::Check {
                panic!("a hook that throws");
            }
        })
        .build();
    let run = idem.run(&scope(), &key(), "payload", |_| Ok::<_, ()>(1));
    assert_eq!(run.unwrap(), 1);
}

#[test]
fn no_debug_output_holds_a_key_or_a_body() {
    let bench = bench();
    let mut lease = bench.miss();
    lease.publish("a secret state").unwrap();
    let shown = format!("{lease:?} {:?} {:?}", lease.token(), bench.begin(1));
    for secret in ["final-1769660861", "793ccc64-user", "a secret state"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
