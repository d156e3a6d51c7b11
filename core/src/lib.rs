//! The idempotency state machine.

mod canonical;
mod fingerprint;
mod key;

pub use canonical::{
    CanonicalError, CanonicalErrorKind, MAX_DEPTH, NumberMode, PointerError, canonicalize,
};
pub use fingerprint::{Fingerprint, FingerprintBuilder, FingerprintFormatError};
pub use key::{Key, KeyError, Scope, SlotKey};
