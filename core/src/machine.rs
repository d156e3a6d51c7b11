//! [`Machine`] and [`Step`]: how every verb talks to a store without knowing one.
//!
//! A verb is plain data. [`Machine::start`] gives the first question, [`Machine::on_reply`] takes
//! the answer, until it is [`Step::Done`]. There is no clock, no randomness and no I/O in it: the
//! driver hands in a fresh revision for every step, and the store's time comes with the reply.
//!
//! ```
//! use idemp::{apply, Begin, Decision, Fingerprint, Key, Machine, Owner, Policy, Rev};
//! use idemp::{Scope, Slot, SlotKey, Step, Timestamp};
//!
//! let mut store: Option<Slot> = None;
//! let slot = SlotKey::new(&Scope::new(["user-1"])?, &Key::new("final-1769660861")?);
//! let fingerprint = Fingerprint::from_parts(1, [7; 32]);
//! let mut fresh = (1u8..).map(|n| [n; 16]); // in earnest: random bytes
//!
//! let owner = Owner::from_bytes(fresh.next().unwrap());
//! let mut begin = Begin::new(slot, fingerprint, Policy::default(), owner);
//! let mut step = begin.start(Rev::from_bytes(fresh.next().unwrap()));
//! let decision = loop {
//!     match step {
//!         Step::Done(decision) => break decision?,
//!         Step::Ask(swap) => {
//!             let reply = apply(&mut store, &swap, Timestamp::from_millis(1_000));
//!             step = begin.on_reply(reply, Rev::from_bytes(fresh.next().unwrap()));
//!         }
//!     }
//! };
//! assert!(matches!(decision, Decision::Miss(_)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use serde::{Deserialize, Serialize};

use crate::slot::{Rev, Swap, Swapped};

/// What a machine wants next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[must_use]
#[allow(clippy::large_enum_variant)] // it lives for one step, on the stack
pub enum Step<T> {
    /// Put this question to the store and give the reply to [`Machine::on_reply`].
    Ask(Swap),
    /// The answer.
    Done(T),
}

/// A verb, driven by somebody who has a store.
pub trait Machine {
    /// What it answers in the end.
    type Done;

    /// The first question. Where a store answered with an error the outcome of the question is
    /// unknown: `start` again, with a fresh revision, recognises what the first one did.
    fn start(&mut self, fresh: Rev) -> Step<Self::Done>;

    /// Takes the store's reply. `fresh` has to be 128 random bits never used before; where the
    /// reply is [`Verdict::Won`](crate::Verdict::Won) the machine is done and does not use it.
    fn on_reply(&mut self, reply: Swapped, fresh: Rev) -> Step<Self::Done>;
}
