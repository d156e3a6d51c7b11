//! [`Event`]: what can happen next, within the bounds of a [`Setup`].

use std::sync::Arc;

use idemp::{Policy, SlotKey, Swap, Swapped, Timestamp};

use crate::client::Doing;
use crate::contract::{Act, Note, Payload, Terms};
use crate::mutant::Mutant;
use crate::world::{Place, World};

/// What can happen at most.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The slots.
    pub places: Vec<SlotKey>,
    /// The policies that clients come with.
    pub policies: Vec<Policy>,
    /// The payloads that clients come with.
    pub payloads: Vec<Payload>,
    /// How many clients.
    pub clients: usize,
    /// How often each of them begins.
    pub begins: u8,
    /// How often each lease is renewed or published under.
    pub extras: u8,
    /// Events of the whole run.
    pub budget: Budget,
    /// How much time passes in a moment, in milliseconds.
    pub moment: u64,
    /// Time may pass until a retention ends.
    pub ends: bool,
    /// What is wrong with the protocol.
    pub mutant: Mutant,
    /// A store that is asked the same, and has to answer the same.
    pub mirror: Option<Mirror>,
}

/// How a store answers at a time; `None` where it fails.
pub type Ask = dyn Fn(&Swap, Timestamp) -> Option<Swapped> + Send + Sync;

/// A store to compare `apply` with.
#[derive(Clone)]
pub struct Mirror(pub Arc<Ask>);

impl std::fmt::Debug for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mirror")
    }
}

/// How often the rarer events may still happen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// The store does it, and the client gets an error.
    pub lost: u8,
    /// The client gets an error, and the message arrives later or never.
    pub late: u8,
    /// A client forgets everything.
    pub crashes: u8,
    /// Time passes.
    pub time: u8,
    /// A verb that has ended is repeated.
    pub repeats: u8,
    /// A token is handed to another client.
    pub handed: u8,
    /// An operator settles a slot.
    pub resolved: u8,
    /// The store's clock is set back.
    pub set_back: u8,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is answered.
    Answered,
    /// It takes effect; the client gets an error and asks again.
    AnswerLost,
    /// The client gets an error and asks again; the message is still on its way.
    Late,
}

/// One step of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A client begins.
    Begin {
        /// Which client.
        client: usize,
        /// Which slot.
        place: usize,
        /// Which payload.
        payload: Payload,
        /// Which of the policies.
        policy: usize,
        /// What becomes of its first message.
        fate: Fate,
    },
    /// A client uses its lease.
    Act {
        /// Which client.
        client: usize,
        /// What for.
        act: Act,
        /// What becomes of its first message.
        fate: Fate,
    },
    /// A client's message arrives.
    Deliver {
        /// Whose.
        client: usize,
        /// What becomes of it.
        fate: Fate,
    },
    /// A client repeats the verb that ended its lease.
    Repeat {
        /// Which client.
        client: usize,
    },
    /// A client forgets everything.
    Crash {
        /// Which client.
        client: usize,
    },
    /// A client's token goes to another one, as text.
    Hand {
        /// From whom.
        from: usize,
        /// To whom.
        to: usize,
    },
    /// A message that was given up arrives.
    DeliverLate {
        /// Which of them.
        index: usize,
    },
    /// An operator settles a slot.
    Resolve {
        /// Which slot.
        place: usize,
        /// With an outcome.
        completed: bool,
    },
    /// Time passes.
    Moment,
    /// Time passes until the lease lapses.
    Lapse {
        /// On which slot.
        place: usize,
    },
    /// Time passes until the retention ends.
    Gone {
        /// On which slot.
        place: usize,
    },
    /// The store forgets what is gone.
    Purge {
        /// Which slot.
        place: usize,
    },
    /// The store's clock is set back by some moments.
    SetBack {
        /// How many.
        moments: u64,
    },
}

impl World {
    /// What can happen next.
    pub fn events(&self, setup: &Setup) -> Vec<Event> {
        let mut events = Vec::new();
        let budget = &self.budget;
        // Whoever begins first, and with whatever payload: call it Alice, and the payload the first.
        let nobody_yet = self.clients.iter().all(|client| client.begun == 0);
        let payloads = &setup.payloads[..if nobody_yet { 1 } else { setup.payloads.len() }];
        let mut fates = vec![Fate::Answered];
        fates.extend((budget.lost > 0).then_some(Fate::AnswerLost));
        fates.extend((budget.late > 0).then_some(Fate::Late));
        for (client, state) in self.clients.iter().enumerate() {
            if nobody_yet && client > 0 {
                break;
            }
            // A client that will not begin again may as well never be heard of again.
            let matters = state.begun < setup.begins && !matches!(state.doing, Doing::Idle);
            if matters && budget.crashes > 0 {
                events.push(Event::Crash { client });
            }
            match &state.doing {
                Doing::Idle | Doing::Ended(..) if state.begun < setup.begins => {
                    for place in 0..setup.places.len() {
                        for &payload in payloads {
                            for policy in 0..setup.policies.len() {
                                events.extend(fates.iter().map(|&fate| Event::Begin {
                                    client,
                                    place,
                                    payload,
                                    policy,
                                    fate,
                                }));
                            }
                        }
                    }
                }
                Doing::Asking(..) => {
                    events.extend(fates.iter().map(|&fate| Event::Deliver { client, fate }));
                }
                Doing::Holding(held) => {
                    let note = held.owner << 3 | held.token.attempt() as Note;
                    let mut acts = vec![Act::Finish(note), Act::Release];
                    // A later attempt that forgets releases.
                    acts.extend((held.token.attempt() == 1).then_some(Act::Forget));
                    if setup.policies.iter().any(|p| Terms::from(p).fences()) {
                        acts.extend([Act::Fence, Act::FinishUnstorable]);
                    }
                    if state.extras < setup.extras {
                        acts.extend([Act::Renew, Act::Publish(note)]);
                    }
                    for act in acts {
                        events.extend(fates.iter().map(|&fate| Event::Act { client, act, fate }));
                    }
                    if budget.handed > 0 {
                        let idle = |to: &usize| matches!(self.clients[*to].doing, Doing::Idle);
                        let others = (0..setup.clients).filter(idle);
                        events.extend(others.map(|to| Event::Hand { from: client, to }));
                    }
                }
                Doing::Idle | Doing::Ended(..) => {}
            }
            if matches!(state.doing, Doing::Ended(..)) {
                events.push(Event::Repeat { client });
            }
        }
        events.extend((0..self.late.len()).map(|index| Event::DeliverLate { index }));
        for (place, state) in self.places.iter().enumerate() {
            let Some(slot) = &state.slot else { continue };
            if budget.resolved > 0 {
                events.extend([false, true].map(|completed| Event::Resolve { place, completed }));
            }
            let gone = slot.gone_at.as_millis() <= self.now;
            if gone {
                events.push(Event::Purge { place });
            } else if budget.time > 0 {
                if self.now < slot.lease_until.as_millis() {
                    events.push(Event::Lapse { place });
                }
                events.extend(setup.ends.then_some(Event::Gone { place }));
            }
        }
        // On an empty slot nothing waits for time to pass, but for the next fence.
        let waits =
            |place: &Arc<Place>| place.slot.is_some() || place.contract.was_vacated_at(self.now);
        if budget.time > 0 && self.places.iter().any(waits) {
            events.push(Event::Moment);
        }
        if budget.set_back > 0 {
            events.extend((1..4).map(|moments| Event::SetBack { moments }));
        }
        events
    }
}
