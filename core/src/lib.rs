//! Retry-safe creates: an idempotency state machine, pure, small, and checked against its promises.
//!
//! A request comes with a [`Key`] in a [`Scope`], and with a [`Fingerprint`] of its payload.
//! [`Idempotency::begin`] answers with a [`Decision`]: execute it ([`Decision::Miss`], with a
//! [`Lease`]), replay what was stored ([`Decision::Hit`]), refuse another payload
//! ([`Decision::Conflict`]), or wait ([`Decision::InProgress`]). Whoever executes says `finish`,
//! and from then on every repetition gets that outcome, byte for byte.
//!
//! ```
//! use idemp::{Decision, Fingerprint, Idempotency, Key, MemoryStore, Scope};
//!
//! let idem = Idempotency::new(MemoryStore::new());
//! let scope = Scope::new(["user-1", "POST /api/video-tasks"])?;
//! let key = Key::new("final-1769660861")?;
//!
//! let first = Fingerprint::of_json(br#"{"prompt": "a cat", "seconds": 5}"#);
//! let Decision::Miss(mut lease) = idem.begin(&scope, &key, &first)? else { panic!("it is new") };
//! lease.finish("vt_4e80c173")?;
//!
//! let again = Fingerprint::of_json(br#"{"seconds": 5.0, "prompt": "a cat"}"#);
//! let Decision::Hit(replay) = idem.begin(&scope, &key, &again)? else { panic!("it is a retry") };
//! assert_eq!(replay.json::<String>()?, "vt_4e80c173");
//!
//! let other = Fingerprint::of_json(br#"{"prompt": "a dog", "seconds": 5}"#);
//! assert!(matches!(idem.begin(&scope, &key, &other)?, Decision::Conflict));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where to look
//! - [`Idempotency`]: the façade; [`Policy`]: how long, and what a lapse means.
//! - [`canonicalize`], [`Fingerprint`], [`FingerprintBuilder`]: what a request is.
//! - [`Store`], [`AsyncStore`], [`apply`]: one method, eight laws; [`MemoryStore`].
//! - [`Machine`], [`Begin`], [`LeaseCall`], [`Resolve`]: the decision itself, without a store, a
//!   clock, randomness, threads or I/O.
//! - [`http`]: headers, statuses, refusals and replays, as data.
//! - [`testing`]: a clock that stands still, a store that fails on demand.
//!
//! # What this is not
//! A lock: a lease lapses, and its owner may still be at work. Check [`Lease::remaining`] right
//! before an irreversible effect, or hand [`Lease::fence`] to the system that has it. Nor is it a
//! transaction: between the effect and `finish` a process can die. Then the next attempt executes
//! again, or, with [`Lapse::Fence`], nobody does until the outcome is resolved.
//!
//! # Features
//! - `tokio`: keep-alive, waiting, guards that release in the background, graceful shutdown.
//! - `tracing`: `TracingObserver`.

mod asynchronous;
mod begin;
mod body;
mod builder;
mod canonical;
mod decision;
mod entropy;
mod error;
mod event;
mod fingerprint;
mod finish;
mod head;
mod hex;
pub mod http;
mod idempotency;
mod in_transaction;
#[cfg(feature = "tokio")]
mod keep_alive;
mod key;
mod lease;
mod machine;
mod memory;
mod peek;
mod policy;
mod resolve;
mod run;
#[cfg(any(test, idemp_small))]
mod sha256;
mod slot;
mod store;
pub mod testing;
mod time;
mod token;
mod utf8;
#[cfg(feature = "tokio")]
mod wait;
pub mod wire;

pub use asynchronous::{AsyncLease, LeaseHandle};
pub use begin::Begin;
pub use body::Body;
pub use builder::Builder;
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
pub use finish::{LeaseCall, LeaseReply, Stale, Verb};
pub use idempotency::Idempotency;
pub use key::{Key, KeyError, Scope, SlotKey};
pub use lease::Lease;
pub use machine::{Machine, Step};
pub use memory::MemoryStore;
pub use peek::{Peek, Peeked, Progress};
pub use policy::{Lapse, Policy, PolicyBuilder, PolicyError, Usage};
pub use resolve::{Resolution, Resolve, Resolved};
pub use run::RunError;
pub use slot::{Expect, Head, NewSlot, Owner, Put, Rev, Slot, Swap, Swapped, Verdict, apply};
#[cfg(feature = "tokio")]
pub use store::OnBlockingThreads;
pub use store::{AsyncStore, InPlace, MaybeSend, Store};
pub use time::{Clock, Timestamp};
pub use token::{LeaseToken, TokenError};
#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
pub use {entropy::SystemEntropy, time::SystemClock};
