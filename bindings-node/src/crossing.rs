//! What lies in the buffer that crosses.
//!
//! A question begins at 0. An answer begins at [`HEADER`]; before it stand, little-endian in four
//! bytes each, its length, that of the body behind it, and the number of the call. A length of 0
//! says that there is no answer: the call goes on, or, without a number, none has ended.
//!
//! What does not fit goes apart, as an array of its own, which is handed over and not copied: the
//! body, or, where that is too long, the answer.
//!
//! ```text
//! answer = what `wire` says: 0 refused | 1 done
//!        | 2 error:1 text, in UTF-8                 the store failed
//! error  = 1 unavailable | 2 full | 3 corrupt | 4 unusable | 5 closed
//! ```

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};

use idemp::wire::{Answer, Refused};
use idemp::{Body, Fingerprint, StoreError};
use napi::bindgen_prelude::{Uint8Array, Uint8ArraySlice};

/// The bytes before an answer.
const HEADER: usize = 12;

/// What an answer of `wire` begins with where a function of it panicked.
const PANICKED: [u8; 10] = [0, 254, 0, 0, 0, 0, 0, 0, 0, 0];

/// Puts a fingerprint into a place of its own: in hex, and as bytes behind that. Says whether it fits.
pub(crate) fn seal(made: &Fingerprint, mut place: Uint8ArraySlice<'_>) -> bool {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    // SAFETY: as in [`Told::write`].
    let place = unsafe { place.as_mut() };
    let Ok(place) = <&mut [u8; 66 + 33]>::try_from(place) else {
        return false;
    };
    let (hex, bytes) = place.split_at_mut(66);
    bytes[0] = made.version();
    bytes[1..].copy_from_slice(made.digest());
    for (pair, byte) in hex.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(*byte >> 4)];
        pair[1] = DIGITS[usize::from(*byte & 15)];
    }
    true
}

/// An answer on its way.
pub(crate) struct Told {
    bytes: Vec<u8>,
    body: Option<Body>,
    call: u32,
}

impl Told {
    pub(crate) fn bytes(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            body: None,
            call: 0,
        }
    }

    pub(crate) fn refused(why: Refused) -> Self {
        Answer::from(why).into()
    }

    pub(crate) fn malformed() -> Self {
        Self::refused(Refused::MALFORMED)
    }

    /// There is none yet. This call goes on.
    pub(crate) fn later(call: u32) -> Self {
        Self {
            call,
            ..Self::bytes(Vec::new())
        }
    }

    /// No call has ended.
    pub(crate) fn none() -> Self {
        Self::later(0)
    }

    /// What a store that panicked did is not known.
    pub(crate) fn store_panicked() -> Self {
        (&StoreError::unavailable("the store failed unexpectedly")).into()
    }

    /// The answer to that call.
    pub(crate) fn to(self, call: u32) -> Self {
        Self { call, ..self }
    }

    /// The number of the call, and what the answer begins with.
    #[cfg(test)]
    pub(crate) fn parts(&self) -> (u32, Option<u8>) {
        (self.call, self.bytes.first().copied())
    }

    /// Puts it into the buffer; what does not fit is given.
    pub(crate) fn write(self, mut io: Uint8ArraySlice<'_>) -> Option<Uint8Array> {
        // SAFETY: JavaScript waits for this call, the buffer is the package's own and shared with
        // no worker, and no other slice of it lives: what came in it has been read.
        let io = unsafe { io.as_mut() };
        let body = self.body.as_deref().unwrap_or_default();
        let body_at = HEADER + self.bytes.len();
        let lengths = [self.bytes.len() as u32, body.len() as u32, self.call];
        for (place, number) in io.chunks_exact_mut(4).zip(lengths) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let Some(place) = io.get_mut(HEADER..body_at) else {
            // Of what has a body the answer is short.
            return Some(self.bytes.into());
        };
        place.copy_from_slice(&self.bytes);
        match io.get_mut(body_at..body_at + body.len()) {
            Some(place) => {
                place.copy_from_slice(body);
                None
            }
            None => Some(body.to_vec().into()),
        }
    }
}

impl From<Answer> for Told {
    fn from(Answer { bytes, body }: Answer) -> Self {
        Self {
            body,
            ..Self::bytes(bytes)
        }
    }
}

impl From<Result<Answer, StoreError>> for Told {
    fn from(answered: Result<Answer, StoreError>) -> Self {
        answered.map_or_else(|error| (&error).into(), Into::into)
    }
}

impl From<&StoreError> for Told {
    fn from(error: &StoreError) -> Self {
        let mut bytes = vec![2, error_code(error)];
        bytes.extend_from_slice(why(error).as_bytes());
        Self::bytes(bytes)
    }
}

/// The number of an error of a store.
pub(crate) fn error_code(error: &StoreError) -> u8 {
    match error {
        StoreError::Full => 2,
        StoreError::Corrupt(_) => 3,
        StoreError::Unusable(_) => 4,
        StoreError::Closed => 5,
        // The outcome is unknown, and so it is with whatever is added to them.
        _ => 1,
    }
}

/// What is behind an error of a store, or nothing.
pub(crate) fn why(error: &StoreError) -> String {
    match (error, error.source()) {
        (StoreError::Timeout, _) => "it did not answer in time".to_string(),
        (_, Some(cause)) => cause.to_string(),
        (_, None) => String::new(),
    }
}

/// A panic is an answer: that of a core that failed.
pub(crate) fn caught(work: impl FnOnce() -> Told) -> Told {
    // What is shared is behind locks that recover from it.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Told::bytes(PANICKED.to_vec()))
}

/// For work on a store, the outcome of which is then unknown.
pub(crate) fn caught_in_store(work: impl FnOnce() -> Told) -> Told {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Told::store_panicked())
}

/// A body that crossed.
pub(crate) fn body(bytes: Option<&[u8]>) -> Body {
    bytes.map_or_else(Body::default, Body::from)
}
