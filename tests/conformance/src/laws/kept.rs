//! Law 4: nothing goes before its time, whatever purges or is full.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use idemp::{AsyncStore, Expect, Slot, SlotKey, StoreError, Swap, Timestamp, Verdict};
use tokio::task::JoinSet;

use super::atomic::all;
use super::errors::shows_no_secret;
use crate::draws::nightly;
use crate::subject::Subject;
use crate::world::{
    HOUR, Held, World, ask, broken, ensure, found, name, new, put, read, remove, told, try_ask,
    verdict,
};

pub(crate) async fn until_gone<S: Subject>(world: &World<S>) -> Held {
    purged_and_counted(world).await?;
    let soon = world.soon();
    let mut laid: Vec<(SlotKey, Slot)> = Vec::new();
    for number in 1..=24u32 {
        let slot = name(&format!("kept-{number}"));
        let keep = soon * (1 + number % 6) / 2;
        // Leases that end with the slot, before it, at once, and after it.
        let lease = [keep, keep / 2, Duration::ZERO, keep * 2][number as usize % 4];
        let mut there = world.lay(&slot, Expect::Vacant, new(lease, keep)).await?;
        if number % 5 == 0 {
            let longer = new(lease, keep + soon);
            let put = put(&slot, Expect::Rev(there.rev), longer.clone());
            if world.ask(&put).await?.verdict == Verdict::Won {
                there = world.read(&slot).await?.unwrap_or(there);
            }
        }
        laid.push((slot, there));
    }
    let mut times: Vec<_> = laid.iter().map(|(_, slot)| slot.gone_at).collect();
    times.sort_unstable();
    times.dedup();
    for gone_at in times.into_iter().step_by(4) {
        world.until(gone_at).await?;
        world.subject.purge(&world.store).await;
        for (slot, laid) in &laid {
            let (now, there) = read(&*world.store, slot).await?;
            let kept = now < laid.gone_at;
            ensure!(
                there.as_ref() == Some(laid).filter(|_| kept),
                "after a purge, at {}, a slot with a lease until {} that is gone at {} is {}: {}",
                now.as_millis(),
                laid.lease_until.as_millis(),
                laid.gone_at.as_millis(),
                if kept { "not as it was" } else { "still there" },
                found(there.as_ref())
            );
        }
    }
    Ok(())
}

/// A purge removes all that is gone, and says how many that were.
async fn purged_and_counted<S: Subject>(world: &World<S>) -> Held {
    let soon = world.soon();
    let staying = name("stays");
    let lapsed = world
        .lay(&staying, Expect::Vacant, new(Duration::ZERO, HOUR * 24))
        .await?;
    for number in 0..10 {
        let slot = name(&format!("goes-{number}"));
        // Nothing is asked from here to the purge but this: many stores collect as they are asked.
        let lay = put(&slot, Expect::Vacant, new(soon / 2, soon));
        ensure!(
            world.ask(&lay).await?.verdict == Verdict::Won,
            "{} lost",
            told(&lay)
        );
    }
    match world.subject.limits().stands_apart {
        true => tokio::time::sleep(soon + Duration::from_millis(20)).await,
        false => world.step(soon.as_millis() as i64 + 20).await,
    }
    for (purge, expected) in [("the first", 10), ("the second", 0)] {
        let counted = world.subject.purge(&world.store).await;
        let there = world.read(&staying).await?;
        ensure!(
            there.as_ref() == Some(&lapsed),
            "a purge took a slot along whose lease was over, but that was to be kept for a day"
        );
        if let Some(counted) = counted.filter(|counted| *counted != expected) {
            broken!("10 slots were gone; {purge} purge after that said that it removed {counted}");
        }
    }
    Ok(())
}

/// Keys are claimed anew the moment they are gone, or prolonged the moment before, while purges
/// run one after the other.
pub(crate) async fn claimed_anew<S: Subject>(world: &World<S>) -> Held {
    let rounds = if nightly() { 600 } else { 60 };
    let ended = Arc::new(AtomicBool::new(false));
    let purging = {
        let (subject, store, ended) = (world.subject.clone(), world.open().await, ended.clone());
        tokio::spawn(async move {
            while !ended.load(Ordering::SeqCst) {
                subject.purge(&store).await;
                tokio::task::yield_now().await;
            }
        })
    };
    let mut running = JoinSet::new();
    for caller in 0..6 {
        let store = world.store.clone();
        running.spawn(async move {
            for round in 0..rounds {
                generation(&*store, &name(&format!("claimed-{caller}")), round).await?;
            }
            Ok(())
        });
    }
    let result = all(running).await;
    ended.store(true, Ordering::SeqCst);
    if let Err(error) = purging.await {
        broken!("a purge did not end: {error}");
    }
    result.map(drop)
}

async fn generation(store: &impl AsyncStore, slot: &SlotKey, round: u32) -> Held {
    let kept = Duration::from_millis(2);
    let first = new(kept, kept);
    let old = first.rev;
    let laid = wins(store, &put(slot, Expect::Vacant, first)).await?;
    let gone_at = laid + kept;
    let next = new(HOUR, HOUR * 24);
    let rev = next.rev;
    let mut how = "claimed anew after it was gone";
    match round % 4 {
        0 => {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let prolong = put(slot, Expect::Rev(old), next.clone());
            if ask(store, &prolong).await?.verdict == Verdict::Won {
                how = "prolonged before it was gone";
            }
        }
        // A while after it is gone; otherwise the moment that it is.
        1 => tokio::time::sleep(kept * 2).await,
        _ => {}
    }
    let claim = put(slot, Expect::Vacant, next);
    while how.starts_with("claimed") {
        let reply = ask(store, &claim).await?;
        let late = reply.now >= gone_at;
        match &reply.verdict {
            Verdict::Won if late => break,
            Verdict::Lost(Some(by)) if by.rev == old && !late => tokio::task::yield_now().await,
            other => broken!(
                "while purges ran, a slot was to be kept until {}; at {} {} was answered {}",
                gone_at.as_millis(),
                reply.now.as_millis(),
                told(&claim),
                verdict(other)
            ),
        }
    }
    for _ in 0..3 {
        let (now, there) = read(store, slot).await?;
        ensure!(
            there.as_ref().is_some_and(|slot| slot.rev == rev),
            "while purges ran, a slot was {how}, to be kept for a day; then, at {}, {} lay there",
            now.as_millis(),
            found(there.as_ref())
        );
        match round % 2 {
            0 => tokio::time::sleep(Duration::from_millis(1)).await,
            _ => tokio::task::yield_now().await,
        }
    }
    wins(store, &remove(slot, rev)).await.map(drop)
}

async fn wins(store: &impl AsyncStore, swap: &Swap) -> Held<Timestamp> {
    let reply = ask(store, swap).await?;
    ensure!(
        reply.verdict == Verdict::Won,
        "while purges ran, {} was answered {}",
        told(swap),
        verdict(&reply.verdict)
    );
    Ok(reply.now)
}

/// How many records the store may hold in the test of a full one.
pub(crate) async fn full_fails_loudly<S: Subject>(world: &World<S>) -> Held {
    let Some(capacity) = world
        .room
        .capacity()
        .filter(|_| !world.subject.limits().without_bound)
    else {
        return Ok(());
    };
    let soon = world.soon();
    let mut laid = Vec::new();
    for number in 0..capacity {
        let slot = name(&format!("seat-{number}"));
        let lease = if number % 2 == 0 {
            soon / 4
        } else {
            Duration::ZERO
        };
        let there = world.lay(&slot, Expect::Vacant, new(lease, soon)).await?;
        laid.push((slot, there));
    }
    let (first, last) = (laid[0].1.lease_until, laid[capacity - 1].1.gone_at);
    one_more_is_refused(world, &laid).await?;
    world.until(first).await?;
    one_more_is_refused(world, &laid).await?;
    // A full store still serves those who are in it, and room that is left is room.
    let (slot, there) = &laid[0];
    let rev = world
        .lay(slot, Expect::Rev(there.rev), new(soon, soon))
        .await?
        .rev;
    world.ask(&remove(slot, rev)).await?;
    world
        .lay(&name("takes its seat"), Expect::Vacant, new(soon, soon / 8))
        .await?;
    world.until(last).await?;
    world
        .lay(&name("after them"), Expect::Vacant, new(soon, soon))
        .await?;
    Ok(())
}

async fn one_more_is_refused<S: Subject>(world: &World<S>, laid: &[(SlotKey, Slot)]) -> Held {
    let more = put(
        &super::errors::secret(),
        Expect::Vacant,
        super::errors::secretly(),
    );
    match try_ask(&*world.store, &more).await? {
        Err(error @ StoreError::Full) => shows_no_secret(&error)?,
        Err(error) => broken!("a full store has to say `Full`; it says: {error}"),
        Ok(reply) => broken!(
            "a store with room for {} held as many, all kept still; one more was answered {}",
            laid.len(),
            verdict(&reply.verdict)
        ),
    }
    for (slot, laid) in laid {
        let (now, there) = read(&*world.store, slot).await?;
        ensure!(
            there.as_ref() == Some(laid) || now >= laid.gone_at,
            "a full store let go of what was kept until {}, at {}: {} lies there",
            laid.gone_at.as_millis(),
            now.as_millis(),
            found(there.as_ref())
        );
    }
    Ok(())
}
