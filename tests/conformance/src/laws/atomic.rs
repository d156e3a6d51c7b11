//! Law 1: storms on one key, and counting up.

use std::sync::Arc;

use idemp::{AsyncStore, Body, Expect, NewSlot, Put, Slot, SlotKey, Swap, Swapped, Verdict};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::draws::nightly;
use crate::subject::Subject;
use crate::world::{
    HOUR, Held, Seen, World, ask, broken, difference, ensure, found, name, new, put, read, told,
};

/// How many callers, and how often: a thousand rounds in all.
fn storms() -> Vec<(usize, usize)> {
    match nightly() {
        false => vec![(2, 600), (10, 300), (200, 100)],
        true => vec![(2, 1_000), (10, 1_000), (200, 1_000)],
    }
}

/// The same with a tenth of the rounds, for slots that have to be laid beforehand.
fn smaller_storms() -> Vec<(usize, usize)> {
    let tenth = |(callers, rounds): (usize, usize)| (callers, rounds / 10);
    storms().into_iter().map(tenth).collect()
}

pub(crate) async fn one_of_many<S: Subject>(world: &World<S>) -> Held {
    let openings = [world.store.clone(), world.open().await];
    for (callers, rounds) in storms() {
        for round in 0..rounds {
            let slot = name(&format!("storm-{callers}-{round}"));
            storm(&openings, &slot, callers, None).await?;
        }
    }
    Ok(())
}

pub(crate) async fn one_after_the_end<S: Subject>(world: &World<S>) -> Held {
    let openings = [world.store.clone(), world.open().await];
    for (callers, rounds) in smaller_storms() {
        let names: Vec<SlotKey> = (0..rounds)
            .map(|round| name(&format!("ended-{callers}-{round}")))
            .collect();
        let mut last = Default::default();
        for slot in &names {
            let lying = new(world.soon() / 2, world.soon());
            last = world
                .lay(slot, Expect::Vacant, lying)
                .await?
                .gone_at
                .max(last);
        }
        world.until(last).await?;
        for slot in &names {
            storm(&openings, slot, callers, None).await?;
        }
    }
    Ok(())
}

pub(crate) async fn one_takes_over<S: Subject>(world: &World<S>) -> Held {
    let openings = [world.store.clone(), world.open().await];
    for (callers, rounds) in smaller_storms() {
        let mut lying = Vec::new();
        for round in 0..rounds {
            let slot = name(&format!("lapsed-{callers}-{round}"));
            let lease = new(world.soon() / 2, HOUR * 24);
            let there = world.lay(&slot, Expect::Vacant, lease).await?;
            lying.push((slot, there));
        }
        if let Some((_, last)) = lying.last() {
            world.until(last.lease_until).await?;
        }
        for (slot, lapsed) in lying {
            storm(&openings, &slot, callers, Some(lapsed)).await?;
        }
    }
    Ok(())
}

/// All at once: put where nothing lies, or in the place of what lies there. One wins, and the
/// others are told who.
async fn storm<A: AsyncStore + 'static>(
    openings: &[Arc<A>; 2],
    slot: &SlotKey,
    callers: usize,
    lying: Option<Slot>,
) -> Held {
    let expect = lying
        .as_ref()
        .map_or(Expect::Vacant, |slot| Expect::Rev(slot.rev));
    let line = Arc::new(Barrier::new(callers));
    let mut running = JoinSet::new();
    for caller in 0..callers {
        let (store, line) = (openings[caller % 2].clone(), line.clone());
        let swap = put(slot, expect, new(HOUR, HOUR * 24));
        running.spawn(async move {
            line.wait().await;
            let reply = ask(&*store, &swap).await;
            reply.map(|reply| (swap, reply))
        });
    }
    let replies = all(running).await?;
    let (won, lost): (Vec<_>, Vec<_>) = replies
        .into_iter()
        .partition(|(_, reply)| reply.verdict == Verdict::Won);
    let [(swap, reply)] = &won[..] else {
        broken!(
            "of {callers} callers that asked for one slot at once, {} won",
            won.len()
        )
    };
    let winner = put_by(swap, reply, lying.as_ref());
    for (_, reply) in lost {
        if let Verdict::Lost(by) = reply.verdict {
            if let Some(difference) = difference(winner.as_ref(), by.as_ref()) {
                broken!(
                    "of {callers} callers one lost, and not to the winner's slot: {difference}"
                );
            }
        }
    }
    let (_, there) = read(&*openings[0], slot).await?;
    if let Some(difference) = difference(winner.as_ref(), there.as_ref()) {
        broken!(
            "after {callers} callers, it is not the winner's slot that lies there: {difference}"
        );
    }
    Ok(())
}

/// What a swap that won has put.
fn put_by(swap: &Swap, reply: &Swapped, replaced: Option<&Slot>) -> Option<Slot> {
    let mut slot = replaced.cloned();
    idemp::apply(&mut slot, swap, reply.now);
    slot
}

/// The results of all, or the first thing that was seen.
pub(crate) async fn all<T: 'static>(mut running: JoinSet<Held<T>>) -> Held<Vec<T>> {
    let mut done = Vec::new();
    while let Some(joined) = running.join_next().await {
        match joined {
            Ok(result) => done.push(result?),
            Err(error) => broken!("a caller did not end: {error}"),
        }
    }
    Ok(done)
}

pub(crate) async fn no_step_is_lost<S: Subject>(world: &World<S>) -> Held {
    for (callers, steps) in [(2, 100), (10, 30), (50, 6)] {
        let slot = name(&format!("counter-{callers}"));
        world.lay(&slot, Expect::Vacant, numbered(0)).await?;
        let mut running = JoinSet::new();
        for _ in 0..callers {
            let (store, slot) = (world.store.clone(), slot.clone());
            running.spawn(async move { count_up(&*store, &slot, steps).await });
        }
        let made = all(running).await?.concat();
        every_step_once(made, world.read(&slot).await?.as_ref())?;
    }
    Ok(())
}

/// Every caller made its steps, and no two made the same: then the counter stands at their sum.
pub(crate) fn every_step_once(mut made: Vec<u64>, slot: Option<&Slot>) -> Held {
    made.sort_unstable();
    for (step, made) in (1..).zip(&made) {
        ensure!(
            step == *made,
            "callers counted a slot up, each from what it had seen to the next number; step {} was made {}",
            step.min(*made),
            if made < &step { "twice" } else { "by nobody" }
        );
    }
    ensure!(
        slot.and_then(number) == Some(made.len() as u64),
        "callers counted a slot up by {} steps; what lies there is {}, number {:?}",
        made.len(),
        found(slot),
        slot.and_then(number)
    );
    Ok(())
}

/// Counts up by so many steps, each by the revision that was seen; hands back which it made.
pub(crate) async fn count_up(
    store: &impl AsyncStore,
    slot: &SlotKey,
    steps: u64,
) -> Held<Vec<u64>> {
    let mut made = Vec::new();
    let mut seen = read(store, slot).await?.1;
    while (made.len() as u64) < steps {
        let Some((rev, next)) = seen
            .as_ref()
            .and_then(|slot| Some((slot.rev, number(slot)? + 1)))
        else {
            broken!(
                "a slot that callers count up by its revision is {} by now",
                found(seen.as_ref())
            )
        };
        let swap = put(slot, Expect::Rev(rev), numbered(next));
        seen = match ask(store, &swap).await?.verdict {
            Verdict::Lost(by) => by,
            Verdict::Won => {
                made.push(next);
                Some(written(&swap).ok_or_else(|| Seen(told(&swap)))?)
            }
        };
    }
    Ok(made)
}

/// What the next step has to know of what was put: revision and number.
fn written(swap: &Swap) -> Option<Slot> {
    let mut slot = None;
    let Put::Slot(_) = &swap.put else { return None };
    let vacant = Swap {
        expect: Expect::Vacant,
        ..swap.clone()
    };
    idemp::apply(&mut slot, &vacant, Default::default());
    slot
}

pub(crate) fn numbered(number: u64) -> NewSlot {
    let body = Body::from(&number.to_be_bytes()[..]);
    NewSlot {
        body,
        ..new(HOUR, HOUR * 24)
    }
}

fn number(slot: &Slot) -> Option<u64> {
    Some(u64::from_be_bytes(slot.body[..].try_into().ok()?))
}

/// Two openings of one room are one store: what one has put, the other finds, at once.
pub(crate) async fn two_openings<S: Subject>(world: &World<S>) -> Held {
    let openings = [world.store.clone(), world.open().await];
    let slot = name("seen from both sides");
    let mut expect = Expect::Vacant;
    for turn in 0..100 {
        let (mine, other) = (&openings[turn % 2], &openings[(turn + 1) % 2]);
        let swap = put(&slot, expect, new(HOUR, HOUR * 24));
        let reply = ask(&**mine, &swap).await?;
        ensure!(
            reply.verdict == Verdict::Won,
            "in turn {turn} {} lost: an opening does not see what another one put",
            told(&swap)
        );
        let (_, there) = read(&**other, &slot).await?;
        let rev = match &swap.put {
            Put::Slot(new) => new.rev,
            Put::Remove => continue,
        };
        ensure!(
            there.as_ref().is_some_and(|slot| slot.rev == rev),
            "in turn {turn} one opening put {rev:?} and was told `Won`; another one then found {}",
            found(there.as_ref())
        );
        expect = Expect::Rev(rev);
    }
    let counter = name("counted from both sides");
    world.lay(&counter, Expect::Vacant, numbered(0)).await?;
    let mut running = JoinSet::new();
    for caller in 0..6 {
        let (store, slot) = (openings[caller % 2].clone(), counter.clone());
        running.spawn(async move { count_up(&*store, &slot, 50).await });
    }
    let made = all(running).await?.concat();
    every_step_once(made, world.read(&counter).await?.as_ref())
}
