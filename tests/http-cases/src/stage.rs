//! [`Stage`]: a store before the real one, with a clock that can be moved on and faults on demand.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use idemp::{
    AsyncStore, Body, Expect, Head, Put, Slot, SlotKey, StoreError, Swap, Swapped, Timestamp,
    Verdict,
};
use idemp_stores::AnyStore;
use tokio::sync::watch;

use crate::case::Fault;
use crate::handler::Gates;

/// Each case has one, with slots of its own in the store that all of them share.
#[derive(Clone)]
pub(crate) struct Stage(Arc<Inner>);

struct Inner {
    store: Arc<AnyStore>,
    /// Stands before the scope of each slot.
    case: String,
    gates: Gates,
    state: Mutex<State>,
    counts: watch::Sender<Swaps>,
}

#[derive(Default)]
struct State {
    /// How far the clock of this stage is before that of the store.
    ahead: Duration,
    next: VecDeque<Fault>,
    always: Option<Fault>,
}

/// How many questions were asked, and how many have won.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Swaps {
    pub(crate) asked: usize,
    pub(crate) won: usize,
}

impl Stage {
    pub(crate) fn new(store: Arc<AnyStore>, case: String, gates: Gates) -> Self {
        Self(Arc::new(Inner {
            store,
            case,
            gates,
            state: Mutex::default(),
            counts: watch::Sender::default(),
        }))
    }

    pub(crate) fn advance(&self, span: Duration) {
        self.state().ahead += span;
    }

    pub(crate) fn always(&self, fault: Fault) {
        self.state().always = Some(fault);
    }

    pub(crate) fn next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().next.extend(faults);
    }

    pub(crate) fn counts(&self) -> watch::Receiver<Swaps> {
        self.0.counts.subscribe()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no panic while it is locked")
    }

    fn fault(&self) -> Fault {
        self.0.counts.send_modify(|counts| counts.asked += 1);
        let mut state = self.state();
        let fault = state.next.pop_front().or_else(|| state.always.clone());
        fault.unwrap_or(Fault::None)
    }

    /// Deadlines lie in the store as this stage's clock has them.
    async fn ask(&self, swap: &Swap) -> Result<Swapped, StoreError> {
        let ahead = self.state().ahead;
        let mut shifted = self.own(swap);
        if let Put::Slot(new) = &mut shifted.put {
            new.keep_for += ahead;
            // Zero ends a lease by any clock.
            if !new.lease_for.is_zero() {
                new.lease_for += ahead;
            }
        }
        let reply = match (swap.expect, ahead.is_zero()) {
            (_, true) | (Expect::Vacant, _) => self.0.store.swap(&shifted).await?,
            // What is gone by this clock may lie there by the store's.
            (Expect::Rev(_), false) => {
                let there = self.0.store.swap(&Swap::read(shifted.slot.clone())).await?;
                match there.verdict {
                    Verdict::Lost(Some(slot)) if slot.gone_at > there.now + ahead => {
                        self.0.store.swap(&shifted).await?
                    }
                    _ => Swapped {
                        verdict: Verdict::Lost(None),
                        ..there
                    },
                }
            }
        };
        let now = reply.now + ahead;
        match reply.verdict {
            Verdict::Lost(Some(slot)) if slot.gone_at <= now => match swap.expect {
                Expect::Vacant => {
                    shifted.expect = Expect::Rev(slot.rev);
                    let Swapped { verdict, .. } = self.0.store.swap(&shifted).await?;
                    Ok(Swapped { now, verdict })
                }
                Expect::Rev(_) => Ok(lost(now, None)),
            },
            verdict => Ok(Swapped { now, verdict }),
        }
    }

    /// The same, in a slot of this case's own.
    fn own(&self, swap: &Swap) -> Swap {
        let (count, rest) = swap
            .slot
            .as_bytes()
            .split_first()
            .expect("a count of parts");
        let length = u16::try_from(self.0.case.len()).expect("a short name");
        let name = [
            &[count + 1],
            &length.to_be_bytes()[..],
            self.0.case.as_bytes(),
            rest,
        ];
        let slot = SlotKey::from_bytes(&name.concat()).expect("one part more is a scope");
        Swap {
            slot,
            ..swap.clone()
        }
    }
}

impl AsyncStore for Stage {
    async fn swap(&self, swap: &Swap) -> Result<Swapped, StoreError> {
        let fault = self.fault();
        if let Fault::Wait(gate) = &fault {
            self.0.gates.opened(gate).await;
        }
        match &fault {
            Fault::Lost => return Err(StoreError::unavailable("never arrived")),
            Fault::Full => return Err(StoreError::Full),
            Fault::Corrupt => return Err(StoreError::Corrupt(None)),
            _ => {}
        }
        let reply = self.ask(swap).await?;
        if matches!(reply.verdict, Verdict::Won) {
            self.0.counts.send_modify(|counts| counts.won += 1);
        }
        match fault {
            Fault::AnswerLost => Err(StoreError::unavailable("answer lost")),
            Fault::Hang => std::future::pending().await,
            Fault::Head(head) => Ok(changed(reply, |slot| {
                slot.head = Head::from_bytes(&head).expect("a short record");
            })),
            Fault::Body(body) => Ok(changed(reply, |slot| slot.body = Body::from(&body[..]))),
            _ => Ok(reply),
        }
    }
}

fn changed(reply: Swapped, change: impl FnOnce(&mut Slot)) -> Swapped {
    match reply.verdict {
        Verdict::Lost(Some(mut slot)) => {
            change(&mut slot);
            lost(reply.now, Some(slot))
        }
        verdict => Swapped { verdict, ..reply },
    }
}

fn lost(now: Timestamp, slot: Option<Slot>) -> Swapped {
    let verdict = Verdict::Lost(slot);
    Swapped { now, verdict }
}
