//! Law 2 in time: half-open boundaries, and deadlines that never move back.

use std::time::{Duration, Instant};

use idemp::{Expect, Put, Slot, Swap, Verdict};

use super::replaced::judge;
use crate::draws::Draws;
use crate::subject::Subject;
use crate::world::{Held, World, broken, ensure, fresh, name, new, put};

/// Asks in the last millisecond in which a slot is there, and in the first in which it is not:
/// with a read, a claim, and a swap by its revision.
///
/// No clock can be set to a millisecond and stay there, so it aims, and counts what it hit.
pub(crate) async fn boundaries<S: Subject>(world: &World<S>) -> Held {
    const KEPT: Duration = Duration::from_millis(6);
    const WANTED: u32 = 2;
    let mut draws = Draws::from(Draws::seed());
    let mut hits = [[0u32; 2]; 3];
    let mut aim = 0.0;
    let started = Instant::now();
    let mut attempt = 0u64;
    while hits.as_flattened().iter().any(|hits| *hits < WANTED) {
        ensure!(
            started.elapsed() < Duration::from_secs(60),
            "in {attempt} attempts the moment at which a slot goes was not hit with every kind of swap, only {hits:?} times: is the machine too busy, or the clock too coarse?"
        );
        let slot = name(&format!("boundary-{attempt}"));
        let mut model = None;
        let lay = put(&slot, Expect::Vacant, new(KEPT, KEPT));
        let laid = world.ask(&lay).await?;
        let answered = Instant::now();
        judge(&mut model, &lay, &laid)?;
        let Some(Slot { rev, gone_at, .. }) = model else {
            broken!("the definition lays nothing")
        };
        let kind = (attempt % 3) as usize;
        let swap = match kind {
            0 => Swap::read(slot.clone()),
            1 => put(&slot, Expect::Vacant, new(KEPT, KEPT * 100)),
            _ => put(&slot, Expect::Rev(rev), new(KEPT, KEPT * 100)),
        };
        // Two milliseconds wide, and where the last ones lay right.
        let width = draws.below(2_000) as f64 / 1_000.0 - 1.0;
        let wait = (KEPT.as_secs_f64() * 1_000.0 + aim + width).max(0.0) / 1_000.0;
        let then = answered + Duration::from_secs_f64(wait);
        while Instant::now() < then {
            tokio::task::yield_now().await;
        }
        let reply = world.ask(&swap).await?;
        judge(&mut model, &swap, &reply)?;
        let off = reply.now.as_millis() as i64 - gone_at.as_millis() as i64;
        match off {
            -1 => hits[kind][0] += 1,
            0 => hits[kind][1] += 1,
            _ => aim = (aim - off.signum() as f64 * 0.25).clamp(-KEPT.as_secs_f64() * 1_000.0, 3.0),
        }
        attempt += 1;
    }
    Ok(())
}

/// A slot is replaced with shorter spans, with none, and after the clock was set back.
pub(crate) async fn never_back<S: Subject>(world: &World<S>) -> Held {
    let soon = world.soon();
    let back = !world.subject.limits().never_steps_back;
    let slot = name("never back");
    let mut model: Option<Slot> = None;
    for (lease, keep, set_back) in [
        (soon / 2, soon, false),
        (soon / 8, soon / 8, false),
        (soon / 4, soon / 4, true),
        (Duration::ZERO, soon / 2, false),
        (soon / 8, Duration::ZERO, false),
        (Duration::ZERO, Duration::ZERO, true),
        (soon / 2, soon / 8, true),
        (soon, soon * 2, false),
        (soon, soon, true),
    ] {
        if set_back && back {
            world.step(-(soon.as_millis() as i64) / 2).await;
        }
        let before = model.clone();
        let expect = before
            .as_ref()
            .map_or(Expect::Vacant, |slot| Expect::Rev(slot.rev));
        let swap = put(&slot, expect, new(lease, keep));
        let reply = world.ask(&swap).await?;
        judge(&mut model, &swap, &reply)?;
        let there = world.read(&slot).await?;
        let (Some(before), Some(there)) = (before, there) else {
            continue;
        };
        ensure!(
            there.gone_at >= before.gone_at
                && (there.lease_until >= before.lease_until || lease.is_zero()),
            "a slot with a lease until {} and gone at {} was replaced by one with a lease of {lease:?}, kept {keep:?}, at {}; now its lease ends at {} and it is gone at {}",
            before.lease_until.as_millis(),
            before.gone_at.as_millis(),
            reply.now.as_millis(),
            there.lease_until.as_millis(),
            there.gone_at.as_millis()
        );
        let read = Swap::read(slot.clone());
        judge(&mut model, &read, &world.ask(&read).await?)?;
    }
    // A removal ends it: what comes next starts anew.
    let rev = model.as_ref().map_or_else(fresh, |slot| slot.rev);
    let gone = Swap {
        slot: slot.clone(),
        expect: Expect::Rev(rev),
        put: Put::Remove,
    };
    judge(&mut model, &gone, &world.ask(&gone).await?)?;
    let anew = put(&slot, Expect::Vacant, new(soon / 8, soon / 8));
    let reply = world.ask(&anew).await?;
    ensure!(
        reply.verdict == Verdict::Won,
        "a slot was removed, and was not vacant then"
    );
    judge(&mut model, &anew, &reply)?;
    let read = Swap::read(slot);
    judge(&mut model, &read, &world.ask(&read).await?)
}
