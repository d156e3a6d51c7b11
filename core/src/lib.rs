//! The idempotency state machine.

mod canonical;
mod fingerprint;
mod key;

pub use canonical::{CanonicalError, CanonicalErrorKind, MAX_DEPTH, NumberMode, canonicalize};
pub use fingerprint::Fingerprint;
pub use key::{Key, KeyError, Scope, SlotKey};
