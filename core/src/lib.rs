//! The idempotency state machine.

mod asynchronous;
mod begin;
mod canonical;
mod decision;
mod entropy;
mod error;
mod event;
mod fingerprint;
mod finish;
mod head;
pub mod http;
mod idempotency;
#[cfg(feature = "tokio")]
mod keep_alive;
mod key;
mod lease;
mod machine;
mod memory;
mod policy;
mod slot;
mod store;
pub mod testing;
mod time;
mod token;
#[cfg(feature = "tokio")]
mod wait;

pub use asynchronous::{AsyncLease, LeaseHandle};
pub use begin::Begin;
pub use canonical::{
    CanonicalError, CanonicalErrorKind, MAX_DEPTH, NumberMode, PointerError, canonicalize,
};
pub use decision::{Decision, InProgress, Replay};
pub use entropy::Entropy;
pub use error::{Cause, Error, LeaseError, SlotError, StoreError};
#[cfg(feature = "tracing")]
pub use event::TracingObserver;
pub use event::{Event, EventKind, Observer};
pub use fingerprint::{Fingerprint, FingerprintBuilder, FingerprintFormatError};
pub use finish::{LeaseCall, LeaseReply, Resolution, Resolve, Resolved, Stale, Verb};
pub use idempotency::{Builder, Idempotency, RunError};
pub use key::{Key, KeyError, Scope, SlotKey};
pub use lease::Lease;
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
