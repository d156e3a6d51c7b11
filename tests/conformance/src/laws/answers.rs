//! Law 6: answers that get lost, and questions that are given up.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use idemp::{
    AsyncStore, Begin, Body, Decision, Entropy, Expect, Fingerprint, LeaseCall, LeaseReply,
    LeaseToken, Machine, Owner, Policy, Put, Slot, SlotKey, Step, Swap, SystemEntropy, Verb,
    Verdict,
};

use crate::draws::nightly;
use crate::subject::Subject;
use crate::world::{
    HOUR, Held, PATIENCE, Seen, World, ask, broken, difference, ensure, found, fresh, name, new,
    put, read,
};

/// What becomes of a question.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fate {
    Answered,
    /// The store did it, and the caller does not hear of it.
    AnswerLost,
    /// The store never heard of it.
    Lost,
}

/// The drivers' loop: after an error it starts again, with a fresh revision.
pub(crate) async fn drive<M: Machine>(
    store: &impl AsyncStore,
    fates: &[Fate],
    machine: &mut M,
) -> Held<(M::Done, usize)> {
    let mut step = machine.start(fresh());
    for asked in 0..100 {
        let swap = match step {
            Step::Done(done) => return Ok((done, asked)),
            Step::Ask(swap) => swap,
        };
        let fate = fates.get(asked).copied().unwrap_or(Fate::Answered);
        let reply = match fate {
            Fate::Lost => None,
            _ => Some(ask(store, &swap).await?),
        };
        step = match reply {
            Some(reply) if fate == Fate::Answered => machine.on_reply(reply, fresh()),
            _ => machine.start(fresh()),
        };
    }
    broken!("a question of core is not settled after 100 asks of the store")
}

/// Every way in which the first three questions may fare.
fn fates() -> impl Iterator<Item = [Fate; 3]> {
    const ALL: [Fate; 3] = [Fate::Answered, Fate::AnswerLost, Fate::Lost];
    (0..27).map(|n| [ALL[n % 3], ALL[n / 3 % 3], ALL[n / 9]])
}

pub(crate) fn policy() -> Policy {
    let policy = Policy::replay(HOUR * 2).lease(HOUR / 2).build();
    policy.unwrap_or_default()
}

pub(crate) fn owner() -> Owner {
    Owner::from_bytes(SystemEntropy.bytes())
}

pub(crate) const PAYLOAD: Fingerprint = Fingerprint::from_parts(Fingerprint::VERSION, [0x5a; 32]);

fn begin(slot: &SlotKey) -> Begin {
    Begin::new(slot.clone(), PAYLOAD, policy(), owner())
}

pub(crate) async fn lost_on_their_way<S: Subject>(world: &World<S>) -> Held {
    for (number, fates) in fates().enumerate() {
        let slot = name(&format!("lost-{number}"));
        let story = owner_and_duplicate(&*world.store, &slot, &fates).await;
        story.map_err(|Seen(seen)| {
            Seen(format!(
                "where the questions of every verb fared so: {fates:?}, {seen}"
            ))
        })?;
    }
    Ok(())
}

async fn owner_and_duplicate(store: &impl AsyncStore, slot: &SlotKey, fates: &[Fate]) -> Held {
    let bytes = |text: &str| Body::from(text.as_bytes());
    let token = lease(drive(store, fates, &mut begin(slot)).await?.0, 1)?;
    let token = held(store, fates, token, Verb::Publish(bytes("60 %"))).await?;
    let token = held(store, fates, token, Verb::Renew).await?;
    match drive(store, &[], &mut begin(slot)).await?.0 {
        Ok(Decision::InProgress(other)) => ensure!(
            other.published().map(|body| &body[..]) == Some(b"60 %"),
            "a duplicate did not get what the owner published"
        ),
        other => broken!(
            "the owner is at work, and a duplicate was told {}",
            decided(&other)
        ),
    }
    ended(store, fates, token.clone(), Verb::Release).await?;
    let token = lease(drive(store, fates, &mut begin(slot)).await?.0, 2)?;
    ensure!(
        token.published().map(|body| &body[..]) == Some(b"60 %"),
        "the second attempt did not get what the first published"
    );
    // It may travel.
    let token = LeaseToken::from_text(&token.to_text()).map_err(|error| Seen(error.to_string()))?;
    ended(store, fates, token.clone(), Verb::Finish(bytes("done"))).await?;
    ended(store, &[], token, Verb::Finish(bytes("done"))).await?;
    match drive(store, fates, &mut begin(slot)).await?.0 {
        Ok(Decision::Hit(replay)) => {
            ensure!(
                replay.bytes() == b"done",
                "a replay has other bytes than were stored"
            );
            Ok(())
        }
        other => broken!(
            "the outcome was stored, and a duplicate was told {}",
            decided(&other)
        ),
    }
}

fn lease(decision: Decided, attempt: u32) -> Held<LeaseToken> {
    match decision {
        Ok(Decision::Miss(token)) if token.attempt() == attempt => Ok(token),
        other => broken!(
            "attempt {attempt} had the key to itself; it did not recognise its own doing and was told {}",
            decided(&other)
        ),
    }
}

async fn held(
    store: &impl AsyncStore,
    fates: &[Fate],
    token: LeaseToken,
    verb: Verb,
) -> Held<LeaseToken> {
    let told = format!("{verb:?}");
    match drive(store, fates, &mut LeaseCall::new(token, verb))
        .await?
        .0
    {
        Ok(LeaseReply::Held(token)) => Ok(token),
        other => broken!("the owner said {told} and was told {}", replied(&other)),
    }
}

async fn ended(store: &impl AsyncStore, fates: &[Fate], token: LeaseToken, verb: Verb) -> Held {
    let told = format!("{verb:?}");
    match drive(store, fates, &mut LeaseCall::new(token, verb))
        .await?
        .0
    {
        Ok(LeaseReply::Ended) => Ok(()),
        other => broken!("the owner said {told} and was told {}", replied(&other)),
    }
}

pub(crate) type Decided = Result<Decision, idemp::SlotError>;

pub(crate) fn decided(decision: &Decided) -> String {
    match decision {
        Ok(Decision::Miss(token)) => format!("MISS, attempt {}", token.attempt()),
        Ok(Decision::Hit(_)) => "HIT".into(),
        Ok(Decision::Conflict) => "CONFLICT".into(),
        Ok(Decision::InProgress(_)) => "IN_PROGRESS".into(),
        Ok(other) => format!("{other:?}"),
        Err(error) => format!("an error: {error}"),
    }
}

pub(crate) fn replied(reply: &Result<LeaseReply, idemp::SlotError>) -> String {
    match reply {
        Ok(LeaseReply::Held(_)) => "that it holds the lease".into(),
        Ok(LeaseReply::Ended) => "that it is done".into(),
        Ok(LeaseReply::Ceiling) => "that the lease is at its ceiling".into(),
        Ok(LeaseReply::Stale(_)) => "that the lease is not its own any more".into(),
        Err(error) => format!("an error: {error}"),
    }
}

/// A future that is dropped leaves the old slot or the new one, now or a moment later, and the
/// store goes on.
pub(crate) async fn given_up<S: Subject>(world: &World<S>) -> Held {
    let rounds = if nightly() { 1_000 } else { 100 };
    for round in 0..rounds {
        let slot = name(&format!("given-up-{}", round % 10));
        let old = match world.read(&slot).await? {
            None => world.lay(&slot, Expect::Vacant, large(round)).await?,
            Some(slot) => slot,
        };
        let swap = put(&slot, Expect::Rev(old.rev), large(round + 1));
        let before = world.now().await?;
        // A store that answers at its first poll was not given up, only not listened to.
        give_up(world.store.swap(&swap), round % 4).await;
        let settled = settle(world, &slot, &old, &swap).await?;
        let after = world.now().await?;
        let deadlines = |at| match &swap.put {
            Put::Slot(new) => new.deadlines(Some((old.lease_until, old.gone_at)), at),
            Put::Remove => Default::default(),
        };
        let (first, last) = (deadlines(before), deadlines(after));
        ensure!(
            settled == old
                || (first.0..=last.0).contains(&settled.lease_until)
                    && (first.1..=last.1).contains(&settled.gone_at),
            "a swap was given up halfway; its slot has deadlines that it cannot have put: {}",
            found(Some(&settled))
        );
    }
    Ok(())
}

/// Waits until nothing can come any more: the next swap by the revision that is read wins.
async fn settle<S: Subject>(
    world: &World<S>,
    slot: &SlotKey,
    old: &Slot,
    given_up: &Swap,
) -> Held<Slot> {
    let Put::Slot(new) = &given_up.put else {
        broken!("only a put is given up")
    };
    let mut seen = None;
    for _ in 0..3 {
        let there = match read(&*world.store, slot).await?.1 {
            Some(there) => there,
            None => broken!("a swap was given up halfway, and now nothing lies in the slot"),
        };
        let as_old = difference(Some(old), Some(&there));
        let mut put_by = there.clone();
        (put_by.rev, put_by.head, put_by.body) = (new.rev, new.head, new.body.clone());
        let as_new = difference(Some(&put_by), Some(&there));
        if let (Some(as_old), Some(as_new)) = (as_old, as_new) {
            broken!(
                "a swap was given up halfway, and neither the old slot lies there nor the new one: {as_old}; {as_new}"
            );
        }
        seen = Some(there.clone());
        let next = large(there.body.len());
        let rev = next.rev;
        let reply = ask(&*world.store, &put(slot, Expect::Rev(there.rev), next)).await?;
        match reply.verdict {
            Verdict::Won => {
                let there = read(&*world.store, slot).await?.1;
                ensure!(
                    there.as_ref().is_some_and(|slot| slot.rev == rev),
                    "a swap that had been given up came after one that was answered `Won`, and won too"
                );
                break;
            }
            // It came a moment later.
            Verdict::Lost(Some(by)) if by.rev == new.rev => {}
            Verdict::Lost(by) => broken!(
                "a swap was given up halfway; then {} lay there that nobody put",
                found(by.as_ref())
            ),
        }
    }
    seen.ok_or_else(|| Seen("nothing was seen".into()))
}

fn large(number: usize) -> idemp::NewSlot {
    let body = Body::from(vec![number as u8; 20_000]);
    idemp::NewSlot {
        body,
        ..new(HOUR, HOUR * 24)
    }
}

/// Polls so many times, and drops.
async fn give_up(asked: impl Future, polls: usize) {
    let mut asked = pin!(asked);
    let mut left = polls;
    let some_polls = poll_fn(|context| match asked.as_mut().poll(context) {
        _ if left <= 1 => Poll::Ready(()),
        Poll::Ready(_) => Poll::Ready(()),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    });
    // A future that was never polled has done nothing; one that is not woken again is dropped, too.
    if polls > 0 {
        let _ = tokio::time::timeout(PATIENCE.min(Duration::from_millis(50)), some_polls).await;
    }
}
