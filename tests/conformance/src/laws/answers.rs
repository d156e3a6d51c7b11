//! Law 6: answers that get lost, and questions that are given up.

use std::future::{Future, poll_fn};
use std::ops::RangeInclusive;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use idemp::{
    AsyncStore, Begin, Body, Decision, Entropy, Expect, Fingerprint, LeaseCall, LeaseReply,
    LeaseToken, Machine, Owner, Policy, Slot, SlotKey, Step, Swap, SystemEntropy, Timestamp, Verb,
    Verdict,
};

use super::replaced::judge;
use crate::draws::nightly;
use crate::subject::Subject;
use crate::world::{
    HOUR, Held, PATIENCE, Seen, World, ask, broken, difference, ensure, fresh, name, new, put,
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
    let mut places = Vec::new();
    for place in 0..10 {
        let slot = name(&format!("given-up-{place}"));
        let lying = world.lay(&slot, Expect::Vacant, large(place)).await?;
        places.push((slot, lying));
    }
    for round in 0..rounds {
        let (slot, old) = &mut places[round % 10];
        let swap = put(slot, Expect::Rev(old.rev), large(round));
        let before = world.now().await?;
        // A store that answers at its first poll was not given up, only not listened to.
        give_up(world.store.swap(&swap), round % 4).await;
        *old = settle(world, old, &swap, before).await?;
    }
    // Whatever is still on its way has lost by now.
    tokio::time::sleep(Duration::from_millis(20)).await;
    for (slot, settled) in places {
        let there = world.read(&slot).await?;
        if let Some(difference) = difference(Some(&settled), there.as_ref()) {
            broken!("a swap that was given up came after another one that won: {difference}");
        }
    }
    Ok(())
}

/// Finds the old slot or the new one, and puts another in its place, which ends the swap that was
/// given up: it cannot win any more.
async fn settle<S: Subject>(
    world: &World<S>,
    old: &Slot,
    given_up: &Swap,
    before: Timestamp,
) -> Held<Slot> {
    let slot = &given_up.slot;
    let mut there = world.read(slot).await?;
    for _ in 0..2 {
        let after = world.now().await?;
        let Some(lying) =
            there.filter(|there| there == old || put_by(given_up, old, there, before..=after))
        else {
            broken!(
                "a swap was given up halfway, and neither the old slot lies there nor the new one"
            )
        };
        let next = put(slot, Expect::Rev(lying.rev), large(lying.body.len()));
        let mut settled = Some(lying);
        let reply = world.ask(&next).await?;
        judge(&mut settled, &next, &reply).or_else(|seen| match &reply.verdict {
            // It came a moment later: look again.
            Verdict::Lost(Some(_)) => Ok(()),
            _ => Err(seen),
        })?;
        match reply.verdict {
            Verdict::Won => return settled.ok_or_else(|| Seen("nothing lies there".into())),
            Verdict::Lost(by) => there = by,
        }
    }
    broken!("a swap was given up halfway, and its slot changed more than once after that")
}

/// Whether this is what the swap puts in the place of the old slot, at one of these times.
fn put_by(swap: &Swap, old: &Slot, there: &Slot, times: RangeInclusive<Timestamp>) -> bool {
    let (from, to) = times.into_inner();
    (from.as_millis()..=to.as_millis()).any(|now| {
        let mut slot = Some(old.clone());
        idemp::apply(&mut slot, swap, Timestamp::from_millis(now));
        slot.as_ref() == Some(there)
    })
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
