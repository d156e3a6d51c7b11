//! The idempotency state machine.

mod begin;
mod decision;
mod entropy;
mod error;
mod fingerprint;
mod finish;
mod head;
mod key;
mod machine;
mod memory;
mod policy;
mod slot;
mod store;
mod time;
mod token;

pub use begin::Begin;
pub use decision::{Decision, InProgress, Replay};
pub use entropy::Entropy;
pub use error::{Cause, Error, LeaseError, SlotError, StoreError};
pub use fingerprint::Fingerprint;
pub use finish::{LeaseCall, LeaseReply, Resolution, Resolve, Resolved, Stale, Verb};
pub use key::{Key, KeyError, Scope, SlotKey};
pub use machine::{Machine, Step};
pub use memory::MemoryStore;
pub use policy::{Lapse, Policy, PolicyBuilder, PolicyError, Usage};
pub use slot::{Body, Expect, Head, NewSlot, Owner, Put, Rev, Slot, Swap, Swapped, Verdict, apply};
#[cfg(feature = "tokio")]
pub use store::OnBlockingThreads;
pub use store::{AsyncStore, InPlace, MaybeSend, Store};
pub use time::{Clock, Timestamp};
pub use token::{LeaseToken, TokenError};
#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
pub use {entropy::SystemEntropy, time::SystemClock};
