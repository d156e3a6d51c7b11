//! Clients that obey the contract, whatever happens to their store.

use crate::judge::Report;
use crate::ledger::{Entry, Ledger, Outcome, Stamp};
use idemp::{
    AsyncLease, AsyncStore, Decision, Fingerprint, Idempotency, Key, LeaseError, Policy, Scope,
};
use rand::{Rng, RngExt};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Before a client asks again that was told to wait, or whose call failed.
const PAUSE: Duration = Duration::from_millis(10);
/// How long a verb is repeated whose outcome is unknown.
const PATIENCE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// How much is asked, and what the clients do with it.
#[derive(Debug, Clone)]
pub struct Load {
    /// How many ask at the same time.
    pub clients: usize,
    /// How many clients come with the same key.
    pub visitors: u64,
    /// How long a lease lives: longer than the fault, so that a lease that it loses is missed.
    pub lease: Duration,
    /// The longest outcome, in bytes.
    pub outcome: usize,
    /// Every so many executions fail and release their lease.
    pub release_every: u32,
    /// Every so many owners die, and their leases lapse.
    pub crash_every: u32,
    /// Every so many owners stall until their lease is over, and finish late.
    pub stall_every: u32,
    /// Sets the keys of one load apart from those of another on the same store.
    pub name: String,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            clients: 16,
            visitors: 3,
            lease: Duration::from_secs(3),
            outcome: 4096,
            release_every: 20,
            crash_every: 50,
            stall_every: 500,
            name: "chaos".to_string(),
        }
    }
}

impl Load {
    fn idempotency<S>(&self, store: S) -> Idempotency<S> {
        let policy = Policy::replay(HOUR).lease(self.lease).build();
        let builder = Idempotency::builder(store);
        builder
            .policy(policy.expect("a lease below an hour"))
            .build()
    }

    fn scope(&self) -> Scope {
        Scope::new(["chaos", &self.name]).expect("plain words")
    }
}

/// Opens a store, lets the clients of `load` loose on it, does `harm` meanwhile on this thread,
/// stops the clients, asks for every key once more, and judges.
///
/// # Panics
/// Where the clients cannot go on when the harm is over.
pub fn under_load<S: AsyncStore + 'static>(
    load: &Load,
    open: impl AsyncFnOnce() -> S,
    harm: impl FnOnce(&Ledger),
) -> Report {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let store = Arc::new(runtime.block_on(open()));
    let ledger = Arc::new(Ledger::default());
    let (jobs, stop) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let clients: Vec<_> = (0..load.clients)
        .map(|_| {
            let (load, store, ledger) = (load.clone(), store.clone(), ledger.clone());
            let (jobs, stop) = (jobs.clone(), stop.clone());
            runtime.spawn(async move { client(&load, store, &ledger, &jobs, &stop).await })
        })
        .collect();
    harm(&ledger);
    stop.store(true, Ordering::Relaxed);
    runtime.block_on(async {
        for client in clients {
            client.await.expect("a client does not panic");
        }
        audit(load, store, &ledger).await;
    });
    ledger.judge()
}

/// One client: visits keys, new ones and those that are not done, until it is to stop. `jobs`
/// counts the visits that all clients of a load begin.
pub async fn client<S: AsyncStore + 'static>(
    load: &Load,
    store: Arc<S>,
    ledger: &Ledger,
    jobs: &AtomicU64,
    stop: &AtomicBool,
) {
    let idem = load.idempotency(store);
    let mut open: VecDeque<String> = VecDeque::new();
    while !stop.load(Ordering::Relaxed) {
        let known = open.len() > 8 || !open.is_empty() && rand::rng().random_ratio(1, 4);
        let next = if known { open.pop_front() } else { None };
        let key = next.unwrap_or_else(|| {
            let job = jobs.fetch_add(1, Ordering::Relaxed);
            format!("key-{}", job / load.visitors.max(1))
        });
        if !visit(load, &idem, ledger, &key).await {
            open.push_back(key);
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Asks for every key of the ledger once more and takes down what is answered: an outcome that
/// was acknowledged has to come back.
///
/// # Panics
/// Where the store does not answer.
pub async fn audit<S: AsyncStore + 'static>(load: &Load, store: Arc<S>, ledger: &Ledger) {
    let idem = load.idempotency(store);
    for key in ledger.keys() {
        let started = Instant::now();
        loop {
            let asked = Stamp::now();
            match begin(load, &idem, &key).await {
                Ok(Decision::Miss(mut lease)) => {
                    refused(ledger, &key, asked, "Miss");
                    // Nothing was done: the next audit finds the same.
                    let _ = lease.release().await;
                }
                Ok(other) => told(ledger, &key, asked, &other),
                Err(error) => {
                    let waited = started.elapsed();
                    assert!(waited < PATIENCE, "no answer in {waited:?}: {error}");
                    ledger.note(Entry::Failed { key: key.clone() });
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            }
            break;
        }
    }
}

/// One request with this key. Whether it has its answer.
async fn visit<S: AsyncStore + 'static>(
    load: &Load,
    idem: &Idempotency<S>,
    ledger: &Ledger,
    key: &str,
) -> bool {
    let asked = Stamp::now();
    match begin(load, idem, key).await {
        Ok(Decision::Miss(lease)) => execute(load, lease, ledger, key, asked).await,
        Ok(other) => {
            told(ledger, key, asked, &other);
            matches!(other, Decision::Hit(_))
        }
        Err(_) => {
            ledger.note(Entry::Failed { key: key.into() });
            false
        }
    }
}

async fn begin<S: AsyncStore + 'static>(
    load: &Load,
    idem: &Idempotency<S>,
    key: &str,
) -> Result<Decision<AsyncLease<S>>, idemp::Error> {
    let name = Key::new(key).expect("a plain key");
    let fingerprint = Fingerprint::of_bytes(key.as_bytes());
    idem.begin_async(&load.scope(), &name, &fingerprint).await
}

/// The work: to be in the ledger is to be done. Whether its outcome is stored for certain.
async fn execute<S: AsyncStore + 'static>(
    load: &Load,
    mut lease: AsyncLease<S>,
    ledger: &Ledger,
    key: &str,
    asked: Stamp,
) -> bool {
    let outcome = bytes(load.outcome);
    let attempt = lease.attempt();
    let stored = Outcome::of(&outcome);
    ledger.note(Entry::Executed {
        key: key.into(),
        attempt,
        asked,
        granted: Stamp::now(),
        lease: load.lease,
        outcome: stored,
    });
    if rand::rng().random_ratio(1, load.crash_every.max(1)) {
        let _token = lease.detach(); // its owner is gone
        return false;
    }
    if rand::rng().random_ratio(1, load.release_every.max(1)) {
        let at = Stamp::now();
        let key = key.to_string();
        ledger.note(Entry::Releasing { key, attempt, at });
        let _ = lease.release().await;
        return false;
    }
    if rand::rng().random_ratio(1, load.stall_every.max(1)) {
        tokio::time::sleep(load.lease + load.lease / 5).await;
    }
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        let finished = lease.finish_bytes(outcome.clone()).await;
        let (key, at) = (key.to_string(), Stamp::now());
        match finished {
            Ok(()) => {
                let outcome = stored;
                ledger.note(Entry::Finished {
                    key,
                    attempt,
                    at,
                    outcome,
                });
                return true;
            }
            Err(LeaseError::Stale(stale)) => {
                let winner = stale.winner.map(|replay| Outcome::of(replay.bytes()));
                ledger.note(Entry::Stale {
                    key,
                    attempt,
                    at,
                    winner,
                });
                return false;
            }
            Err(_) => ledger.note(Entry::Failed { key }),
        }
        tokio::time::sleep(PAUSE).await;
    }
    false
}

fn told<L>(ledger: &Ledger, key: &str, asked: Stamp, decision: &Decision<L>) {
    let name = match decision {
        Decision::Hit(replay) => {
            let (key, outcome) = (key.to_string(), Outcome::of(replay.bytes()));
            return ledger.note(Entry::Replayed {
                key,
                asked,
                outcome,
            });
        }
        Decision::Miss(_) => "Miss",
        Decision::Conflict => "Conflict",
        Decision::InProgress(_) => "InProgress",
        Decision::Unknown => "Unknown",
        Decision::Expired => "Expired",
    };
    refused(ledger, key, asked, name);
}

fn refused(ledger: &Ledger, key: &str, asked: Stamp, decision: &str) {
    ledger.note(Entry::Refused {
        key: key.into(),
        asked,
        decision: decision.into(),
    });
}

/// An outcome like no other: 16 random bytes, and as much behind them as comes.
fn bytes(longest: usize) -> Vec<u8> {
    let mut random = rand::rng();
    let mut outcome = vec![0; 16 + random.random_range(0..=longest)];
    random.fill_bytes(&mut outcome);
    outcome
}
