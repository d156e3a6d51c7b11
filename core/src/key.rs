//! [`Scope`] and [`Key`]: whose key it is, and the key; together the name of one slot.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use thiserror::Error;

use crate::body::joined;
use crate::hex::{from_hex, hex};
use crate::utf8;

/// The caller's idempotency key: the value of an `Idempotency-Key` header, or a natural key such
/// as a file name.
///
/// 1 to [`Key::MAX_BYTES`] bytes of UTF-8 without control characters. `Debug` shows a prefix only.
///
/// ```
/// use idemp::Key;
///
/// let key = Key::new("final-1769660861")?;
/// assert_eq!(key.as_str(), "final-1769660861");
/// assert_eq!(format!("{key:?}"), "Key(final-17...)");
/// # Ok::<(), idemp::KeyError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// The longest key, in bytes, inclusive.
    pub const MAX_BYTES: usize = 255;

    /// Checks the format of `key` and takes it over.
    ///
    /// # Errors
    /// [`KeyError`] where the key is empty, longer than [`Key::MAX_BYTES`] bytes or holds a
    /// control character.
    pub fn new(key: impl Into<Arc<str>>) -> Result<Self, KeyError> {
        let key = key.into();
        check(&key, Self::MAX_BYTES)?;
        Ok(Self(key))
    }

    /// A key made of several parts that may be of any length, or long: the SHA-256 of the
    /// length-framed parts, in hex. `["ab", "c"]` and `["a", "bc"]` give different keys.
    ///
    /// # Errors
    /// [`KeyError::Empty`] where there is no part.
    pub fn digest<P: AsRef<[u8]>>(parts: impl IntoIterator<Item = P>) -> Result<Self, KeyError> {
        use sha2::{Digest, Sha256};

        let mut hash = Sha256::new_with_prefix(b"idemp key 1\0");
        let mut empty = true;
        for part in parts {
            let part = part.as_ref();
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
            empty = false;
        }
        if empty {
            return Err(KeyError::Empty);
        }
        Ok(Self(hex(&hash.finalize()).into()))
    }

    /// The key as it came.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", Redacted(&self.0))
    }
}

/// Who and what a key belongs to: tenant, user, method, route. Two scopes never share a slot.
///
/// An ordered list of 1 to [`Scope::MAX_PARTS`] parts, each 1 to [`Scope::MAX_PART_BYTES`] bytes
/// of UTF-8 without control characters. Parts are length-framed, never joined:
///
/// ```
/// use idemp::Scope;
///
/// let scope = Scope::new(["tenant-7", "user-1", "POST /api/video-tasks"])?;
/// assert_ne!(Scope::new(["a", "b:c"])?, Scope::new(["a:b", "c"])?);
/// assert!(Scope::new(["tenant-7", ""]).is_err());
/// # Ok::<(), idemp::KeyError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// `count, (length as u16 BE, bytes)*`
    framed: Vec<u8>,
}

impl Scope {
    /// The most parts, inclusive.
    pub const MAX_PARTS: usize = 8;
    /// The longest part, in bytes, inclusive.
    pub const MAX_PART_BYTES: usize = 255;

    /// Checks the parts and frames them.
    ///
    /// # Errors
    /// [`KeyError`] where there is no part, there are too many, or a part breaks its format.
    pub fn new<P: AsRef<str>>(parts: impl IntoIterator<Item = P>) -> Result<Self, KeyError> {
        // Room for what most scopes are, so that it need not grow.
        let mut framed = Vec::with_capacity(96);
        framed.push(0u8);
        for part in parts {
            let part = part.as_ref();
            check(part, Self::MAX_PART_BYTES)?;
            if usize::from(framed[0]) == Self::MAX_PARTS {
                return Err(KeyError::TooManyParts);
            }
            framed[0] += 1;
            framed.extend_from_slice(&(part.len() as u16).to_be_bytes());
            framed.extend_from_slice(part.as_bytes());
        }
        if framed[0] == 0 {
            return Err(KeyError::Empty);
        }
        Ok(Self { framed })
    }

    /// The parts, in order.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        parts(&self.framed).0.into_iter()
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scope")?;
        f.debug_list()
            .entries(self.parts().map(|part| RedactedDebug(Redacted(part))))
            .finish()
    }
}

/// The name of one slot in a store: a [`Scope`] and a [`Key`], length-framed.
///
/// A store uses [`SlotKey::as_bytes`] whole; one that wants columns takes them from
/// [`SlotKey::scope_parts`] and [`SlotKey::key`]. `Debug` shows prefixes only.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SlotKey(Arc<[u8]>);

impl SlotKey {
    /// The longest encoding, in bytes.
    pub const MAX_BYTES: usize =
        1 + Scope::MAX_PARTS * (2 + Scope::MAX_PART_BYTES) + Key::MAX_BYTES;

    /// Names the slot of `key` in `scope`.
    #[must_use]
    pub fn new(scope: &Scope, key: &Key) -> Self {
        Self(joined(&[&scope.framed, key.0.as_bytes()]))
    }

    /// No slot's name: what stands in the place of one that was refused.
    pub(crate) fn none() -> Self {
        Self(Arc::default())
    }

    /// Reads back what [`SlotKey::as_bytes`] gave.
    ///
    /// # Errors
    /// [`KeyError`] where the bytes are not the encoding of a valid scope and key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(KeyError::TooLong {
                limit: Self::MAX_BYTES,
            });
        }
        let (&count, mut rest) = bytes.split_first().ok_or(KeyError::Empty)?;
        match usize::from(count) {
            0 => return Err(KeyError::Empty),
            count if count > Scope::MAX_PARTS => return Err(KeyError::TooManyParts),
            _ => {}
        }
        for _ in 0..count {
            let (length, behind) = rest.split_first_chunk::<2>().ok_or(KeyError::Format)?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (part, behind) = behind.split_at_checked(length).ok_or(KeyError::Format)?;
            check_bytes(part, Scope::MAX_PART_BYTES)?;
            rest = behind;
        }
        check_bytes(rest, Key::MAX_BYTES)?;
        Ok(Self(bytes.into()))
    }

    /// The encoding: the number of parts in one byte, each part behind its length as a 16-bit
    /// big-endian number, then the key to the end.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The parts of the scope, in order.
    #[must_use]
    pub fn scope_parts(&self) -> Vec<&str> {
        parts(&self.0).0
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &str {
        parts(&self.0).1
    }
}

impl Serialize for SlotKey {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for SlotKey {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let bytes = from_hex(from)?;
        Self::from_bytes(&bytes).map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for SlotKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parts, key) = parts(&self.0);
        f.write_str("SlotKey")?;
        let all = parts.into_iter().chain([key]);
        f.debug_list()
            .entries(all.map(|part| RedactedDebug(Redacted(part))))
            .finish()
    }
}

/// Why a key or a scope was refused. No message holds the key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The key, the scope or one of its parts is empty.
    #[error("a key and every part of a scope need at least one byte")]
    Empty,
    /// The key or part is too long.
    #[error("a key or a part of a scope is longer than {limit} bytes")]
    TooLong {
        /// The most bytes allowed.
        limit: usize,
    },
    /// The key or part holds a control character.
    #[error("a key or a part of a scope holds a control character")]
    Control,
    /// More parts than [`Scope::MAX_PARTS`].
    #[error("a scope has at most {} parts", Scope::MAX_PARTS)]
    TooManyParts,
    /// Bytes that are not the encoding of a slot key.
    #[error("these bytes do not name a slot")]
    Format,
}

/// At most the first 8 characters, and never more than half of the text, then `...`.
pub(crate) struct Redacted<'a>(pub(crate) &'a str);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 16 characters decide: no need to count a longer text.
        let shown = (self.0.chars().take(16).count() / 2).min(8);
        for c in self.0.chars().take(shown) {
            write!(f, "{c}")?;
        }
        f.write_str("...")
    }
}

struct RedactedDebug<'a>(Redacted<'a>);

impl fmt::Debug for RedactedDebug<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

fn check(text: &str, limit: usize) -> Result<(), KeyError> {
    check_text(text.as_bytes(), limit)
}

fn check_bytes(bytes: &[u8], limit: usize) -> Result<(), KeyError> {
    match utf8::first_invalid(bytes) {
        Some(_) => Err(KeyError::Format),
        None => check_text(bytes, limit),
    }
}

/// Checks valid UTF-8.
fn check_text(text: &[u8], limit: usize) -> Result<(), KeyError> {
    let mut last = 0;
    // Below a space, DEL, and U+0080 to U+009F.
    let mut control = |&byte: &u8| {
        let before = std::mem::replace(&mut last, byte);
        byte < b' ' || byte == 0x7f || before == 0xc2 && byte < 0xa0
    };
    if text.is_empty() {
        Err(KeyError::Empty)
    } else if text.len() > limit {
        Err(KeyError::TooLong { limit })
    } else if text.iter().any(&mut control) {
        Err(KeyError::Control)
    } else {
        Ok(())
    }
}

/// The parts, and what lies behind them: the key. Stops at the first part that does not fit.
fn parts(framed: &[u8]) -> (Vec<&str>, &str) {
    let mut found = Vec::new();
    let Some((&count, mut rest)) = framed.split_first() else {
        return (found, "");
    };
    for _ in 0..count {
        let Some((length, behind)) = rest.split_first_chunk::<2>() else {
            break;
        };
        let length = usize::from(u16::from_be_bytes(*length));
        let Some((part, behind)) = behind.split_at_checked(length) else {
            break;
        };
        let Ok(part) = std::str::from_utf8(part) else {
            break;
        };
        found.push(part);
        rest = behind;
    }
    (found, std::str::from_utf8(rest).unwrap_or(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(scope: &[&str], key: &str) -> SlotKey {
        SlotKey::new(&Scope::new(scope).unwrap(), &Key::new(key).unwrap())
    }

    #[test]
    fn scope_and_key_never_run_into_each_other() {
        assert_ne!(slot(&["a:b"], "c"), slot(&["a"], "b:c"));
        assert_ne!(slot(&["a", "b"], "c"), slot(&["a"], "bc"));
        assert_ne!(slot(&["ab", "c"], "d"), slot(&["a", "bc"], "d"));
    }

    #[test]
    fn a_slot_key_gives_back_its_parts_and_survives_its_encoding() {
        let slot = slot(&["tenant", "user"], "datei-ü.mp4");
        assert_eq!(slot.scope_parts(), ["tenant", "user"]);
        assert_eq!(slot.key(), "datei-ü.mp4");
        assert_eq!(SlotKey::from_bytes(slot.as_bytes()).unwrap(), slot);
    }

    #[test]
    fn bytes_that_name_no_slot_are_refused() {
        for bytes in [
            &b""[..],
            b"\x01",
            b"\x00abc",
            b"\x01\x00\x01a",
            b"\x02\x00\x01ab",
            b"\x01\x00\x01\xffk",
        ] {
            assert!(SlotKey::from_bytes(bytes).is_err(), "{bytes:?}");
        }
        assert!(SlotKey::from_bytes(&vec![1; SlotKey::MAX_BYTES + 1]).is_err());
    }

    #[test]
    fn the_limits_are_inclusive() {
        assert!(Key::new("k".repeat(255)).is_ok());
        assert_eq!(
            Key::new("k".repeat(256)),
            Err(KeyError::TooLong { limit: 255 })
        );
        assert_eq!(Key::new(""), Err(KeyError::Empty));
        assert_eq!(Key::new("a\nb"), Err(KeyError::Control));
        assert!(Scope::new(["p"; 8]).is_ok());
        assert_eq!(Scope::new(["p"; 9]), Err(KeyError::TooManyParts));
        assert_eq!(Scope::new([""]), Err(KeyError::Empty));
        assert_eq!(Scope::new(Vec::<String>::new()), Err(KeyError::Empty));
        assert!(
            slot(&["p".repeat(255).as_str(); 8], &"k".repeat(255))
                .as_bytes()
                .len()
                == SlotKey::MAX_BYTES
        );
    }

    #[test]
    fn a_digest_frames_its_parts() {
        assert_ne!(
            Key::digest(["ab", "c"]).unwrap(),
            Key::digest(["a", "bc"]).unwrap()
        );
        assert_eq!(Key::digest(["ab", "c"]).unwrap().as_str().len(), 64);
        assert_eq!(Key::digest(Vec::<&str>::new()), Err(KeyError::Empty));
    }

    #[test]
    fn debug_shows_a_prefix_and_never_a_short_key_whole() {
        assert_eq!(format!("{:?}", Key::new("secret").unwrap()), "Key(sec...)");
        assert_eq!(format!("{:?}", Key::new("k").unwrap()), "Key(...)");
        let slot = slot(&["793ccc64-aaaa-bbbb"], "final-1769660861");
        assert_eq!(format!("{slot:?}"), "SlotKey[793ccc64..., final-17...]");
    }
}
