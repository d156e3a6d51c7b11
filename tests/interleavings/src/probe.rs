//! What anybody could ask in a state, and what has to be answered: checked in every state found.

use idemp::{Begin, Decision, Head, Machine, Rev, Slot, Step, Timestamp, apply};

use crate::client::{fingerprint, owner_token};
use crate::contract::{Breach, Stands};
use crate::event::Setup;
use crate::told::Told;
use crate::world::{Place, World};

/// Asks in every way that a client could ask now, at the lapse of the lease, and at the end of
/// the retention. The answers are judged by the contract (S4 to S8, S10); what is due at the
/// lapse makes L1 and what is due at the end makes L2.
pub fn probe(setup: &Setup, place: &Place, now: u64, told: &mut Told) -> Stands {
    let mut times = vec![now];
    if let Some(slot) = &place.slot {
        let ends = [slot.lease_until, slot.gone_at].map(|end| end.as_millis());
        times.extend(ends.into_iter().filter(|end| *end > now));
        never_a_miss_by_a_damaged_record(setup, slot, now)?;
    }
    for (asked, &time) in times.iter().enumerate() {
        for &payload in setup.payloads.iter().rev() {
            told.words = told.words.take().map(|_| {
                let when = ["now", "at the lapse", "at the end"][asked.min(2)];
                format!("a stranger would begin with payload {payload} {when}")
            });
            World::what_if(setup, place, time, payload, None, told)?;
        }
    }
    let owner = place.contract.live_owner(now);
    if let (Some(owner), Some(payload)) = (owner, place.contract.bound_to(now)) {
        told.words = told
            .words
            .take()
            .map(|_| "its owner would begin again".into());
        World::what_if(setup, place, now, payload, Some(owner), told)?;
    }
    Ok(())
}

/// S13.
fn never_a_miss_by_a_damaged_record(setup: &Setup, slot: &Slot, now: u64) -> Stands {
    let now = Timestamp::from_millis(now);
    if now >= slot.gone_at {
        return Ok(());
    }
    let mut bytes = slot.head.as_bytes().to_vec();
    bytes[0] = 9;
    let mut damaged = Some(Slot {
        head: Head::from_bytes(&bytes).unwrap_or_default(),
        ..slot.clone()
    });
    let payload = fingerprint(setup.payloads[0]);
    let owner = owner_token(0x7001);
    let mut begin = Begin::new(setup.places[0].clone(), payload, setup.policies[0], owner);
    let fresh = Rev::from_bytes([0x77; 16]);
    let mut step = begin.start(fresh);
    loop {
        match step {
            Step::Ask(swap) => step = begin.on_reply(apply(&mut damaged, &swap, now), fresh),
            Step::Done(Err(_)) => return Ok(()),
            Step::Done(Ok(decision)) => {
                let promise = "S13";
                let what = match decision {
                    Decision::Miss(_) => "a record that cannot be read was executed",
                    _ => "a record that cannot be read was answered",
                };
                return Err(Breach {
                    promise,
                    what: what.into(),
                });
            }
        }
    }
}
