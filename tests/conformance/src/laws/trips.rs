//! Law 8: trips.

use idemp::{Begin, Body, Decision, Expect, LeaseCall, LeaseReply, Policy, Swap, Verb};

use super::answers::{PAYLOAD, decided, drive, owner, replied};
use crate::subject::Subject;
use crate::world::{HOUR, Held, World, broken, ensure, name, new, put, remove, told};

pub(crate) async fn one_a_step<S: Subject>(world: &World<S>) -> Held {
    one_a_call(world).await?;
    let slot = name("step by step");
    let policy = Policy::replay(HOUR * 2).lease(world.soon() / 2).build();
    let policy = policy.unwrap_or_default();
    let begin = async |what: &str, trips: usize| {
        let mut begin = Begin::new(slot.clone(), PAYLOAD, policy, owner());
        let (decision, asked) = drive(&*world.store, &[], &mut begin).await?;
        ensure!(
            asked == trips,
            "{what} took {asked} questions to the store, where {trips} do; core was told {}",
            decided(&decision)
        );
        Ok(decision)
    };
    let token = match begin("a key's first begin", 1).await? {
        Ok(Decision::Miss(token)) => token,
        other => broken!("a key's first begin was told {}", decided(&other)),
    };
    let other = begin("a duplicate's begin", 1).await?;
    ensure!(
        matches!(other, Ok(Decision::InProgress(_))),
        "a duplicate was told {}",
        decided(&other)
    );
    world.until(token.lease_until()).await?;
    let mut token = match begin("taking over a crashed owner", 2).await? {
        Ok(Decision::Miss(token)) => token,
        other => broken!("who would take over was told {}", decided(&other)),
    };
    for verb in [
        Verb::Renew,
        Verb::Publish(Body::from(&b"60 %"[..])),
        Verb::Finish(Body::from(&b"done"[..])),
    ] {
        let what = format!("{verb:?}");
        let mut call = LeaseCall::new(token.clone(), verb);
        let (reply, asked) = drive(&*world.store, &[], &mut call).await?;
        ensure!(
            asked == 1,
            "{what} took {asked} questions to the store, where one does"
        );
        match reply {
            Ok(LeaseReply::Held(next)) => token = next,
            Ok(LeaseReply::Ended) => {}
            other => broken!("{what} was answered {}", replied(&other)),
        }
    }
    let hit = begin("a replay", 1).await?;
    ensure!(
        matches!(hit, Ok(Decision::Hit(_))),
        "a replay was told {}",
        decided(&hit)
    );
    Ok(())
}

/// Where the store counts its trips.
async fn one_a_call<S: Subject>(world: &World<S>) -> Held {
    let slot = name("call by call");
    let first = new(HOUR, HOUR);
    let second = new(HOUR, HOUR);
    let (one, two) = (first.rev, second.rev);
    for swap in [
        Swap::read(slot.clone()),
        put(&slot, Expect::Vacant, first.clone()),
        put(&slot, Expect::Vacant, first),
        Swap::read(slot.clone()),
        put(&slot, Expect::Rev(one), second.clone()),
        put(&slot, Expect::Rev(one), second),
        remove(&slot, one),
        remove(&slot, two),
        remove(&slot, two),
    ] {
        let before = world.subject.trips(&world.store);
        world.ask(&swap).await?;
        let after = world.subject.trips(&world.store);
        if let (Some(before), Some(after)) = (before, after) {
            ensure!(
                after == before + 1,
                "{} made {} trips to the records",
                told(&swap),
                after - before
            );
        }
    }
    Ok(())
}
