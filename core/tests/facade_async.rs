//! The async façade on tokio: keep-alive, guards, waiting, shutdown. Time is tokio's paused clock,
//! for the store also, so nothing here sleeps in earnest.
#![cfg(feature = "tokio")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use idemp::testing::{FakeClock, Fault, Flaky};
use idemp::{
    AsyncLease, Builder, Clock, Decision, EventKind, Fingerprint, Idempotency, Key, LeaseError,
    MemoryStore, Policy, RunError, Scope, SystemEntropy, Timestamp,
};
use tokio::sync::{Barrier, Notify};
use tokio::time::Instant;

type Store = Arc<Flaky<MemoryStore>>;

const LEASE: Duration = Duration::from_secs(60);

#[derive(Clone)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_000_000) + self.0.elapsed()
    }
}

fn idem_with(policy: Policy) -> Idempotency<Store> {
    let clock = TokioClock(Instant::now());
    let store = Arc::new(Flaky::new(MemoryStore::with(clock.clone(), 1000)));
    Builder::with(store, SystemEntropy, clock)
        .policy(policy)
        .build()
}

fn idem() -> Idempotency<Store> {
    idem_with(
        Policy::replay(Duration::from_secs(86_400))
            .ceiling(4 * LEASE)
            .build()
            .unwrap(),
    )
}

static SCOPE: LazyLock<Scope> = LazyLock::new(|| Scope::new(["user"]).unwrap());
static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("final-1769660861").unwrap());

fn payload() -> Fingerprint {
    Fingerprint::from_parts(1, [1; 32])
}

async fn begin(idem: &Idempotency<Store>) -> Decision<AsyncLease<Store>> {
    idem.begin_async(&SCOPE, &KEY, &payload()).await.unwrap()
}

async fn miss(idem: &Idempotency<Store>) -> AsyncLease<Store> {
    match begin(idem).await {
        Decision::Miss(lease) => lease,
        other => panic!("expected a miss, not {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_kept_alive_outlives_its_first_deadline() {
    let idem = idem();
    let mut lease = miss(&idem).await;
    lease.keep_alive();
    tokio::time::sleep(3 * LEASE).await;
    assert!(matches!(begin(&idem).await, Decision::InProgress(_)));
    assert!(lease.remaining() > Duration::ZERO);
    lease.finish("vt_1").await.unwrap();
    assert!(begin(&idem).await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn keep_alive_survives_a_failed_renewal() {
    let idem = idem();
    let mut lease = miss(&idem).await;
    idem.store().next([Fault::Lost, Fault::Lost]);
    lease.keep_alive();
    tokio::time::sleep(2 * LEASE).await;
    assert!(matches!(begin(&idem).await, Decision::InProgress(_)));
}

#[tokio::test(start_paused = true)]
async fn keep_alive_stops_at_the_ceiling_and_the_key_can_be_taken() {
    let idem = idem();
    let mut late = miss(&idem).await;
    late.keep_alive();
    tokio::time::sleep(4 * LEASE).await;
    let swaps = idem.store().swaps();
    tokio::time::sleep(4 * LEASE).await;
    assert_eq!(idem.store().swaps(), swaps, "nothing is renewed any more");
    let mut winner = miss(&idem).await;
    assert_eq!(winner.attempt(), 2);
    winner.finish("winner").await.unwrap();
    assert!(matches!(
        late.finish("late").await,
        Err(LeaseError::Stale(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn renewing_stops_when_the_work_ends_either_way() {
    let idem = idem();
    let run = |fail: bool| {
        let work = move |_| async move {
            tokio::time::sleep(LEASE).await;
            if fail { Err("no") } else { Ok(1) }
        };
        idem.run_async(&SCOPE, &KEY, "payload", work)
    };
    for fail in [true, false] {
        assert_eq!(run(fail).await.is_err(), fail);
        let swaps = idem.store().swaps();
        tokio::time::sleep(3 * LEASE).await;
        assert_eq!(idem.store().swaps(), swaps);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_run_where_the_process_stood_still_since_its_claim() {
    let clock = FakeClock::new();
    let ahead = clock.clone();
    let store = Arc::new(MemoryStore::with(clock.clone(), 1000));
    let idem = Builder::with(store, SystemEntropy, clock)
        .observer(move |event: &idemp::Event<'_>| {
            if matches!(event.kind(), EventKind::Miss { attempt: 1 }) {
                ahead.advance(LEASE - LEASE / 20);
            }
        })
        .build();
    let work = |_| async { panic!("it was run") };
    let refused: Result<(), RunError<()>> = idem.run_async(&SCOPE, &KEY, "payload", work).await;
    assert!(matches!(refused, Err(RunError::InProgress(_))));
    assert_eq!(idem.store().len(), 0, "the claim was given back");
}

#[tokio::test(start_paused = true)]
async fn renewing_stops_when_the_work_says_that_its_outcome_is_unknown() {
    let idem = idem();
    let mut lease = miss(&idem).await;
    lease.keep_alive();
    lease.mark_unknown().await.unwrap();
    let swaps = idem.store().swaps();
    tokio::time::sleep(3 * LEASE).await;
    assert_eq!(idem.store().swaps(), swaps);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_lease_is_released_in_the_background_and_shutdown_waits_for_it() {
    let idem = idem();
    drop(miss(&idem).await);
    idem.idle().await;
    assert_eq!(miss(&idem).await.attempt(), 2);
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_running_owners() {
    let idem = idem();
    let mut lease = miss(&idem).await;
    let waiting = tokio::spawn({
        let idem = idem.clone();
        async move { idem.idle().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    lease.finish("vt_1").await.unwrap();
    drop(lease);
    waiting.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_cancelled_releases() {
    let idem = idem();
    let started = Arc::new(Notify::new());
    let run = tokio::spawn({
        let (idem, started) = (idem.clone(), started.clone());
        async move {
            let work = |_| async move {
                started.notify_one();
                std::future::pending::<Result<u8, ()>>().await
            };
            idem.run_async(&SCOPE, &KEY, "payload", work).await
        }
    });
    started.notified().await;
    run.abort();
    assert!(run.await.unwrap_err().is_cancelled());
    idem.idle().await;
    let again = idem.run_async(&SCOPE, &KEY, "payload", |lease| async move {
        Ok::<_, ()>(lease.attempt())
    });
    assert_eq!(again.await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_work_publishes_through_its_handle() {
    let idem = idem();
    let value = idem.run_async(&SCOPE, &KEY, "payload", |lease| async move {
        lease.publish("step 1").await?;
        assert_eq!(lease.published().unwrap().as_ref(), b"\"step 1\"");
        Ok::<_, LeaseError>(lease.fence())
    });
    assert!(value.await.unwrap() > 0);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_is_woken_by_the_outcome_and_not_by_time() {
    let idem = idem();
    let mut lease = miss(&idem).await;
    let waiter = tokio::spawn({
        let idem = idem.clone();
        async move {
            let begun = Instant::now();
            let hit = idem
                .begin_waiting(&SCOPE, &KEY, &payload(), Duration::MAX)
                .await
                .unwrap();
            (hit.is_hit(), begun.elapsed())
        }
    });
    // The waiter is at its first pause, 25 ms long; the outcome comes after 1 ms.
    tokio::time::sleep(Duration::from_millis(1)).await;
    lease.finish("vt_1").await.unwrap();
    let (hit, waited) = waiter.await.unwrap();
    assert!(hit && waited < Duration::from_millis(10), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn one_who_joins_waits_for_what_the_owner_publishes_and_no_longer() {
    let idem = idem();
    let mut lease = miss(&idem).await;
    let joiner = tokio::spawn({
        let idem = idem.clone();
        async move {
            let begun = Instant::now();
            let joined = idem
                .begin_joining(&SCOPE, &KEY, &payload(), LEASE)
                .await
                .unwrap();
            let Decision::InProgress(other) = joined else {
                panic!("{joined:?}")
            };
            (other.json::<String>().unwrap(), begun.elapsed())
        }
    });
    tokio::time::sleep(Duration::from_millis(1)).await;
    lease.publish("task-1").await.unwrap();
    let (task, waited) = joiner.await.unwrap();
    assert_eq!(task.as_deref(), Some("task-1"));
    assert!(waited < Duration::from_millis(10), "{waited:?}");
    lease.finish("done").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn when_the_owner_fails_one_waiter_takes_over_and_the_others_get_its_outcome() {
    let idem = idem();
    let executed = Arc::new(AtomicUsize::new(0));
    let lease = miss(&idem).await;
    let waiters: Vec<_> = (0..5)
        .map(|_| {
            let (idem, executed) = (idem.clone(), executed.clone());
            tokio::spawn(async move {
                match idem
                    .begin_waiting(&SCOPE, &KEY, &payload(), LEASE)
                    .await
                    .unwrap()
                {
                    Decision::Miss(mut lease) => {
                        executed.fetch_add(1, Ordering::SeqCst);
                        lease.finish("second").await.unwrap();
                    }
                    Decision::Hit(hit) => assert_eq!(hit.json::<String>().unwrap(), "second"),
                    other => panic!("{other:?}"),
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(1)).await;
    drop(lease);
    for waiter in waiters {
        waiter.await.unwrap();
    }
    assert_eq!(executed.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_gives_up_at_its_limit_and_the_owner_is_untouched() {
    let idem = idem();
    let mut lease = miss(&idem).await;
    let begun = Instant::now();
    let limit = Duration::from_secs(5);
    let decision = idem
        .begin_waiting(&SCOPE, &KEY, &payload(), limit)
        .await
        .unwrap();
    assert!(matches!(decision, Decision::InProgress(_)));
    assert_eq!(begun.elapsed().as_secs(), 5);
    lease.finish("vt_1").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_waiter_finds_the_lapse_of_an_owner_that_crashed() {
    let idem = idem();
    let _crashed = miss(&idem).await.detach();
    let decision = idem
        .begin_waiting(&SCOPE, &KEY, &payload(), 2 * LEASE)
        .await
        .unwrap();
    assert!(matches!(decision, Decision::Miss(lease) if lease.attempt() == 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_that_run_together_one_executes_and_all_get_its_value() {
    for callers in [2, 10, 200] {
        let idem = Idempotency::new(MemoryStore::new());
        let executed = Arc::new(AtomicUsize::new(0));
        let barrier = Arc::new(Barrier::new(callers));
        let runs: Vec<_> = (0..callers)
            .map(|n| {
                let (idem, executed, barrier) = (idem.clone(), executed.clone(), barrier.clone());
                tokio::spawn(async move {
                    barrier.wait().await;
                    let work = |_| async move {
                        executed.fetch_add(1, Ordering::SeqCst);
                        Ok::<_, ()>(n)
                    };
                    idem.run_waiting(&SCOPE, &KEY, "payload", LEASE, work)
                        .await
                        .unwrap()
                })
            })
            .collect();
        let mut values = Vec::new();
        for run in runs {
            values.push(run.await.unwrap());
        }
        assert_eq!(executed.load(Ordering::SeqCst), 1, "{callers} callers");
        assert!(values.iter().all(|value| value == &values[0]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_run_gets_the_winners_value_or_is_told_that_it_runs() {
    let idem = idem_with(Policy::replay(Duration::from_secs(86_400)).build().unwrap());
    for winner_is_done in [true, false] {
        let key = Key::new(format!("late-{winner_is_done}")).unwrap();
        let payload = "payload";
        let late = idem.run_async(&SCOPE, &key, payload, |_| async {
            // The whole of tokio's time stands still while this lapses: nothing renews.
            let begin = Fingerprint::of_value(payload).unwrap();
            tokio::time::advance(2 * LEASE).await;
            let Ok(Decision::Miss(mut winner)) = idem.begin_async(&SCOPE, &key, &begin).await
            else {
                panic!("the lease lapsed")
            };
            if winner_is_done {
                winner.finish("winner").await.unwrap();
            } else {
                let _ = winner.detach();
            }
            Ok::<_, ()>("late".to_string())
        });
        match (winner_is_done, late.await) {
            (true, value) => assert_eq!(value.unwrap(), "winner"),
            (false, value) => assert!(matches!(value, Err(RunError::InProgress(_)))),
        }
    }
}
