//! The idempotency state machine.

mod fingerprint;
mod key;

pub use fingerprint::Fingerprint;
pub use key::{Key, KeyError, Scope, SlotKey};
