//! [`World`]: a store in its room, how a law asks it, and [`Broken`]: what comes of it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use idemp::{
    AsyncStore, Body, Entropy, Expect, Head, Key, NewSlot, Put, Rev, Scope, Slot, SlotKey,
    StoreError, Swap, Swapped, SystemEntropy, Timestamp, Verdict,
};

use crate::room::Room;
use crate::subject::Subject;

/// A law that a store breaks. `Display` says the law in words, and what was seen.
#[derive(Debug)]
pub struct Broken {
    pub(crate) law: &'static str,
    pub(crate) test: &'static str,
    pub(crate) seen: String,
}

impl Broken {
    /// The law, in words.
    #[must_use]
    pub fn law(&self) -> &'static str {
        self.law
    }

    /// What was seen instead. It shows no key and no body.
    #[must_use]
    pub fn seen(&self) -> &str {
        &self.seen
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { law, test, seen } = self;
        write!(
            f,
            "this store breaks a law.\n  the law: {law}\n  what was seen: {seen}\n  the test: {test}"
        )
    }
}

impl std::error::Error for Broken {}

/// What was seen that the law forbids.
#[derive(Debug)]
pub(crate) struct Seen(pub(crate) String);

pub(crate) type Held<T = ()> = Result<T, Seen>;

/// Returns from a law that is broken.
macro_rules! broken {
    ($($what:tt)*) => {
        return Err($crate::world::Seen(format!($($what)*)))
    };
}

/// Goes on where the law holds.
macro_rules! ensure {
    ($holds:expr, $($what:tt)*) => {
        if !$holds {
            $crate::world::broken!($($what)*);
        }
    };
}
pub(crate) use {broken, ensure};

/// After so long an ask counts as never answered.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Far more than a test takes.
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// A store in its room.
pub(crate) struct World<S: Subject> {
    pub(crate) subject: Arc<S>,
    pub(crate) room: Room,
    pub(crate) store: Arc<S::Store>,
    /// Where the suite is used: see [`crate::laws::law_1_two_processes_are_one_store`].
    pub(crate) here: &'static str,
}

impl<S: Subject> World<S> {
    pub(crate) async fn new(subject: Arc<S>, room: Room, here: &'static str) -> Self {
        let store = Arc::new(subject.open(&room).await);
        Self {
            subject,
            room,
            store,
            here,
        }
    }

    /// Another opening of the same store.
    pub(crate) async fn open(&self) -> Arc<S::Store> {
        Arc::new(self.subject.open(&self.room).await)
    }

    pub(crate) async fn ask(&self, swap: &Swap) -> Held<Swapped> {
        ask(&*self.store, swap).await
    }

    pub(crate) async fn read(&self, slot: &SlotKey) -> Held<Option<Slot>> {
        Ok(read(&*self.store, slot).await?.1)
    }

    /// Puts what has to win, and hands back what has to lie there now.
    pub(crate) async fn lay(&self, slot: &SlotKey, expect: Expect, new: NewSlot) -> Held<Slot> {
        let swap = put(slot, expect, new);
        let reply = self.ask(&swap).await?;
        ensure!(
            reply.verdict == Verdict::Won,
            "{} was answered {}",
            told(&swap),
            verdict(&reply.verdict)
        );
        self.read(slot)
            .await?
            .ok_or_else(|| Seen(format!("{} won, and then nothing lies there", told(&swap))))
    }

    /// The store's time.
    pub(crate) async fn now(&self) -> Held<Timestamp> {
        Ok(read(&*self.store, &name("what time is it")).await?.0)
    }

    /// How long something is kept that a test wants to see go.
    pub(crate) fn soon(&self) -> Duration {
        match self.subject.limits().stands_apart {
            true => Duration::from_millis(300),
            false => HOUR,
        }
    }

    /// Lets the store's time pass until `then` at least: moves its clock, or waits.
    pub(crate) async fn until(&self, then: Timestamp) -> Held {
        let started = Instant::now();
        loop {
            let left = then.since(self.now().await?);
            if left.is_zero() {
                return Ok(());
            }
            ensure!(
                started.elapsed() < PATIENCE,
                "the store's clock does not go on: {left:?} are left"
            );
            match self.subject.limits().stands_apart {
                true => tokio::time::sleep(left).await,
                false => self.step(left.as_millis() as i64).await,
            }
        }
    }

    pub(crate) async fn step(&self, by_ms: i64) {
        self.subject.step(&self.room, by_ms).await;
    }
}

/// Asks, within reason.
pub(crate) async fn ask(store: &impl AsyncStore, swap: &Swap) -> Held<Swapped> {
    match try_ask(store, swap).await? {
        Ok(reply) => Ok(reply),
        Err(error) => broken!(
            "{} was answered with an error: {}",
            told(swap),
            chain(&error)
        ),
    }
}

/// Asks where an error may be the right answer.
pub(crate) async fn try_ask(
    store: &impl AsyncStore,
    swap: &Swap,
) -> Held<Result<Swapped, StoreError>> {
    match tokio::time::timeout(PATIENCE, store.swap(swap)).await {
        Ok(reply) => Ok(reply),
        Err(_) => broken!("{} was not answered within {PATIENCE:?}", told(swap)),
    }
}

/// The store's time, and what lies in the slot.
pub(crate) async fn read(
    store: &impl AsyncStore,
    slot: &SlotKey,
) -> Held<(Timestamp, Option<Slot>)> {
    let reply = ask(store, &Swap::read(slot.clone())).await?;
    match reply.verdict {
        Verdict::Lost(slot) => Ok((reply.now, slot)),
        Verdict::Won => broken!("a read won, so it removed what it read"),
    }
}

/// An error with what caused it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

pub(crate) fn key(scope: &[&str], key: &str) -> SlotKey {
    let scope = Scope::new(scope).expect("the suite's scopes are valid");
    SlotKey::new(&scope, &Key::new(key).expect("the suite's keys are valid"))
}

/// A slot's name, for most tests.
pub(crate) fn name(text: &str) -> SlotKey {
    key(&["tenant-7", "user-1"], text)
}

pub(crate) fn fresh() -> Rev {
    Rev::from_bytes(SystemEntropy.bytes())
}

/// A new slot with some bytes of its own.
pub(crate) fn new(lease_for: Duration, keep_for: Duration) -> NewSlot {
    let rev = fresh();
    NewSlot {
        rev,
        lease_for,
        keep_for,
        head: Head::from_bytes(&rev.as_bytes()[..12]).unwrap_or_default(),
        body: Body::from(&rev.as_bytes()[4..]),
    }
}

pub(crate) fn put(slot: &SlotKey, expect: Expect, new: NewSlot) -> Swap {
    Swap {
        slot: slot.clone(),
        expect,
        put: Put::Slot(new),
    }
}

pub(crate) fn remove(slot: &SlotKey, rev: Rev) -> Swap {
    Swap {
        slot: slot.clone(),
        expect: Expect::Rev(rev),
        put: Put::Remove,
    }
}

/// A swap in words; no key, no bytes.
pub(crate) fn told(swap: &Swap) -> String {
    let expect = match swap.expect {
        Expect::Vacant => "where nothing lies".to_string(),
        Expect::Rev(Rev::NIL) => "where the nil revision lies, which is nowhere".to_string(),
        Expect::Rev(rev) => format!("where {rev:?} lies"),
    };
    match &swap.put {
        Put::Remove if swap.expect == Expect::Rev(Rev::NIL) => "a read".to_string(),
        Put::Remove => format!("remove, {expect}"),
        Put::Slot(new) => format!(
            "put {:?} (lease {:?}, kept {:?}, {:?}, body of {} bytes), {expect}",
            new.rev,
            new.lease_for,
            new.keep_for,
            new.head,
            new.body.len()
        ),
    }
}

/// A verdict in words.
pub(crate) fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Won => "`Won`".to_string(),
        Verdict::Lost(None) => "`Lost`, with nothing that defeated it".to_string(),
        Verdict::Lost(Some(slot)) => format!("`Lost` to {}", lying(slot)),
    }
}

fn lying(slot: &Slot) -> String {
    format!(
        "{:?} (lease until {}, gone at {}, {:?}, body of {} bytes)",
        slot.rev,
        slot.lease_until.as_millis(),
        slot.gone_at.as_millis(),
        slot.head,
        slot.body.len()
    )
}

/// What lies there, or nothing, in words.
pub(crate) fn found(slot: Option<&Slot>) -> String {
    slot.map_or("nothing".to_string(), lying)
}

/// How a slot differs from the one that ought to lie there.
pub(crate) fn difference(expected: Option<&Slot>, seen: Option<&Slot>) -> Option<String> {
    if expected == seen {
        return None;
    }
    let mut text = format!("expected {}, found {}", found(expected), found(seen));
    if let (Some(expected), Some(seen)) = (expected, seen) {
        let bytes = [
            ("head", expected.head.as_bytes(), seen.head.as_bytes()),
            ("body", &expected.body[..], &seen.body[..]),
        ];
        for (what, expected, seen) in bytes.into_iter().filter(|(_, a, b)| a != b) {
            let at = expected
                .iter()
                .zip(seen)
                .take_while(|(a, b)| a == b)
                .count();
            text += &format!(
                "; the {what} differs from byte {at} on ({} bytes went in, {} came back)",
                expected.len(),
                seen.len()
            );
        }
    }
    Some(text)
}
