//! Law 3: a swap that lost.

use idemp::{Expect, Put, Rev, Swap, Verdict};

use crate::subject::Subject;
use crate::world::{
    HOUR, Held, World, broken, difference, ensure, fresh, name, new, told, verdict,
};

pub(crate) async fn changes_nothing<S: Subject>(world: &World<S>) -> Held {
    let slot = name("defeated");
    let lying = world.lay(&slot, Expect::Vacant, new(HOUR, HOUR)).await?;
    for expect in [Expect::Vacant, Expect::Rev(fresh()), Expect::Rev(Rev::NIL)] {
        for what in [
            Put::Slot(new(HOUR * 2, HOUR * 3)),
            Put::Slot(new(Default::default(), Default::default())),
            Put::Remove,
        ] {
            let slot = slot.clone();
            let swap = Swap {
                slot,
                expect,
                put: what,
            };
            match world.ask(&swap).await?.verdict {
                Verdict::Won => broken!("{} won, though another slot lay there", told(&swap)),
                Verdict::Lost(by) => {
                    if let Some(difference) = difference(Some(&lying), by.as_ref()) {
                        broken!(
                            "{} did not hand back what defeated it: {difference}",
                            told(&swap)
                        );
                    }
                }
            }
            let after = world.read(&swap.slot).await?;
            if let Some(difference) = difference(Some(&lying), after.as_ref()) {
                broken!("{} lost, and changed the slot: {difference}", told(&swap));
            }
        }
    }
    never_one_that_is_gone(world).await
}

async fn never_one_that_is_gone<S: Subject>(world: &World<S>) -> Held {
    let slot = name("gone by now");
    let gone = world
        .lay(&slot, Expect::Vacant, new(world.soon(), world.soon()))
        .await?;
    world.until(gone.gone_at).await?;
    let by_rev = |put| Swap {
        slot: slot.clone(),
        expect: Expect::Rev(gone.rev),
        put,
    };
    for swap in [
        Swap::read(slot.clone()),
        by_rev(Put::Remove),
        by_rev(Put::Slot(new(HOUR, HOUR))),
    ] {
        let reply = world.ask(&swap).await?;
        ensure!(
            reply.verdict == Verdict::Lost(None),
            "{} was answered {} at {}, when the slot had been gone since {}",
            told(&swap),
            verdict(&reply.verdict),
            reply.now.as_millis(),
            gone.gone_at.as_millis()
        );
    }
    world.lay(&slot, Expect::Vacant, new(HOUR, HOUR)).await?;
    Ok(())
}
