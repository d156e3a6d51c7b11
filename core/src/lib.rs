//! The idempotency state machine.

mod fingerprint;
pub mod http;
mod key;

pub use fingerprint::Fingerprint;
pub use key::{Key, KeyError, Scope, SlotKey};
