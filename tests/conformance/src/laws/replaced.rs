//! Law 2: what wins, and what lies there then.

use std::time::Duration;

use idemp::{Expect, NewSlot, Put, Rev, Slot, Swap, Swapped, Verdict, apply};

use crate::subject::Subject;
use crate::world::{Held, World, broken, difference, fresh, name, new, put, remove, told, verdict};

/// Whether this is the answer of the definition at the time that the store said it was.
pub(crate) fn judge(slot: &mut Option<Slot>, swap: &Swap, reply: &Swapped) -> Held {
    let before = slot.clone();
    let expected = apply(slot, swap, reply.now).verdict;
    if expected == reply.verdict {
        return Ok(());
    }
    let how = match (&expected, &reply.verdict) {
        (Verdict::Lost(expected), Verdict::Lost(seen)) => {
            difference(expected.as_ref(), seen.as_ref()).unwrap_or_default()
        }
        _ => format!("it has to be {}", verdict(&expected)),
    };
    broken!(
        "{}, at {} on the store's clock, was answered {}; {how}; {} lay there",
        told(swap),
        reply.now.as_millis(),
        verdict(&reply.verdict),
        crate::world::found(before.as_ref()),
    )
}

/// When, in the life of a slot, it is asked.
#[derive(Clone, Copy)]
enum When {
    AtOnce,
    ClockSetBack,
    Lapsed,
    Gone,
}

pub(crate) async fn as_defined<S: Subject>(world: &World<S>) -> Held {
    let never_back = world.subject.limits().never_steps_back;
    for when in [When::AtOnce, When::ClockSetBack, When::Lapsed, When::Gone] {
        if matches!(when, When::ClockSetBack) && never_back {
            continue;
        }
        let (lease, keep) = (world.soon() / 3, world.soon());
        let mut cases = Vec::new();
        for (number, (lies, expect, what)) in combinations().enumerate() {
            let slot = name(&format!("case-{}-{number}", when as u8));
            let mut model = None;
            let mut rev = fresh();
            if lies {
                let lay = put(&slot, Expect::Vacant, new(lease, keep));
                judge(&mut model, &lay, &world.ask(&lay).await?)?;
                rev = model.as_ref().map_or(rev, |slot: &Slot| slot.rev);
            }
            let expect = match expect {
                Expect::Rev(Rev::NIL) | Expect::Vacant => expect,
                Expect::Rev(OWN) => Expect::Rev(rev),
                Expect::Rev(_) => Expect::Rev(fresh()),
            };
            let put = what(world.soon());
            cases.push((model, Swap { slot, expect, put }));
        }
        let laid = world.now().await?;
        match when {
            When::AtOnce => {}
            When::ClockSetBack => world.step(-(world.soon().as_millis() as i64) / 2).await,
            When::Lapsed => world.until(laid + lease).await?,
            When::Gone => world.until(laid + keep).await?,
        }
        for (mut model, swap) in cases {
            judge(&mut model, &swap, &world.ask(&swap).await?)?;
            let read = Swap::read(swap.slot.clone());
            judge(&mut model, &read, &world.ask(&read).await?)?;
        }
    }
    ends(world).await
}

/// Stands for the revision that lies there.
const OWN: Rev = Rev::from_bytes([1; 16]);
const ANOTHER: Rev = Rev::from_bytes([2; 16]);

type What = fn(Duration) -> Put;

/// Whether something lies there, what is expected, what is put.
fn combinations() -> impl Iterator<Item = (bool, Expect, What)> {
    let puts: [What; 4] = [
        |soon| Put::Slot(new(soon / 4, soon / 2)),
        |soon| Put::Slot(new(Duration::ZERO, soon * 2)),
        |soon| Put::Slot(new(soon * 3, soon * 4)),
        |_| Put::Remove,
    ];
    let expects = [
        Expect::Vacant,
        Expect::Rev(OWN),
        Expect::Rev(ANOTHER),
        Expect::Rev(Rev::NIL),
    ];
    [false, true].into_iter().flat_map(move |lies| {
        let each = expects.into_iter();
        each.flat_map(move |expect| puts.into_iter().map(move |what| (lies, expect, what)))
    })
}

/// The shortest and the longest spans, an empty head and body in the place of full ones, and a
/// removal after which the name is as new.
async fn ends<S: Subject>(world: &World<S>) -> Held {
    let slot = name("from end to end");
    let mut model: Option<Slot> = None;
    let longest = idemp::Policy::MAX * 2;
    let bare = |new: NewSlot| NewSlot {
        head: Default::default(),
        body: Default::default(),
        ..new
    };
    for round in 0..2 {
        for put_there in [
            new(Duration::ZERO, world.soon()),
            bare(new(Duration::from_millis(1), Duration::from_millis(1))),
            new(world.soon(), longest),
            bare(new(Duration::ZERO, Duration::ZERO)),
            new(longest, longest),
        ] {
            let rev = model.as_ref().map(|slot| slot.rev);
            let expect = rev.map_or(Expect::Vacant, Expect::Rev);
            let swap = put(&slot, expect, put_there);
            judge(&mut model, &swap, &world.ask(&swap).await?)?;
            let read = Swap::read(slot.clone());
            judge(&mut model, &read, &world.ask(&read).await?)?;
        }
        let Some(rev) = model.as_ref().map(|slot| slot.rev) else {
            broken!("nothing lies there in round {round} of putting and removing")
        };
        let swap = remove(&slot, rev);
        judge(&mut model, &swap, &world.ask(&swap).await?)?;
        judge(&mut model, &swap, &world.ask(&swap).await?)?;
    }
    Ok(())
}
