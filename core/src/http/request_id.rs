//! [`RequestId`]: what an error answer calls the present request.

use std::fmt;

use thiserror::Error;

use crate::hex::hex;

/// The id of one request, for error answers and logs. It names the present request, never the
/// first one under a key.
///
/// ```
/// use idemp::http::RequestId;
///
/// assert_eq!(RequestId::from_random([0x2f, 0xc6, 0xdf, 0xe5]).as_str(), "req_2fc6dfe5");
/// assert!(RequestId::new("0af7651916cd43dd8448eb211c80319c").is_ok());
/// assert!(RequestId::new("two words").is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(Box<str>);

impl RequestId {
    /// The longest id that is adopted, in bytes, inclusive.
    pub const MAX_BYTES: usize = 64;

    /// Adopts an id that came with the request or from another layer.
    ///
    /// # Errors
    /// [`RequestIdError`] where it is not 1 to [`RequestId::MAX_BYTES`] bytes of visible ASCII
    /// (0x21 to 0x7E).
    pub fn new(id: &str) -> Result<Self, RequestIdError> {
        let fits = (1..=Self::MAX_BYTES).contains(&id.len());
        if fits && id.bytes().all(|c| c.is_ascii_graphic()) {
            Ok(Self(id.into()))
        } else {
            Err(RequestIdError)
        }
    }

    /// Makes an id of random bytes: `req_` and 8 hex digits.
    #[must_use]
    pub fn from_random(bytes: [u8; 4]) -> Self {
        let mut id = String::from("req_");
        id.push_str(&hex(&bytes));
        Self(id.into())
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id is not one to adopt. Holds nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a request id is 1 to {} bytes of visible ascii", RequestId::MAX_BYTES)]
pub struct RequestIdError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_req_and_8_hex_digits() {
        assert_eq!(
            RequestId::from_random([0, 1, 0xAB, 0xFF]).as_str(),
            "req_0001abff"
        );
        assert_eq!(RequestId::from_random([0; 4]).to_string(), "req_00000000");
    }

    #[test]
    fn an_id_of_others_is_adopted_up_to_64_visible_bytes() {
        for id in ["a", "req_2fc6dfe5", "\"<!~", &"i".repeat(64)] {
            assert_eq!(RequestId::new(id).unwrap().as_str(), id);
        }
        for id in [
            "",
            " ",
            "a b",
            "a\tb",
            "a\r\nb",
            "\u{7f}",
            "ü",
            &"i".repeat(65),
        ] {
            assert_eq!(RequestId::new(id), Err(RequestIdError), "{id:?}");
        }
    }
}
