//! [`Fingerprint`]: what a request is, in 33 bytes, and the [`FingerprintBuilder`] that says what
//! counts.

mod builder;
mod media_type;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use thiserror::Error;

pub use builder::FingerprintBuilder;

use crate::canonical::{self, CanonicalError, NumberMode};
use crate::hex::hex;

/// A versioned SHA-256 over the canonical request.
///
/// # What counts as the same body
/// - A JSON body counts by its canonical form: see [`canonicalize`](crate::canonicalize).
/// - A body that says JSON and has no canonical form counts by its raw bytes, in a domain of its
///   own: an identical retry matches, and nothing is merged. The strict readings refuse it instead.
/// - An empty body, of whatever type, is a third domain. White space alone is not empty.
///
/// ```
/// use idemp::Fingerprint;
///
/// let first = Fingerprint::of_json(br#"{"amount": 100, "to": "alice"}"#);
/// assert_eq!(first, Fingerprint::of_json(br#"{"to":"alice","amount":1e2}"#));
/// assert_ne!(first, Fingerprint::of_json(br#"{"to":"alice","amount":"100"}"#));
/// assert_eq!(first.to_hex().parse(), Ok(first));
/// ```
///
/// # Text form
/// For people and for serde it is [`Fingerprint::to_hex`]; `Debug` and `Display` show the version
/// and the first digits only.
///
/// # What is hashed
/// ```text
/// "idemp"             5 bytes
/// version             1 byte, 1
/// kind of the body    1 byte: 1 canonical JSON with exact numbers, 2 by RFC 8785, 3 by RFC 8785
///                     with integers checked, 4 raw, 5 empty
/// parts               sorted by tag, then name; each: the tag in 1 byte, never 0; the length of
///                     the name in 64 bits, big-endian; the name; the length of the value; the value
/// end of the parts    1 byte, 0
/// body                to the end
/// ```
///
/// Everything before the body is framed, so no two requests have the same bytes. The tags are `m`
/// method, `p` path, `q` parameter of the query, `c` content type, `a` parameter of the content
/// type, `h` header, `n` named part, `s` selected field (the pointer; 1 and the canonical value, or
/// 0 where there is none; the body is then left out), `x` pointer to what is left out.
///
/// The number mode is in the kind, and what is selected or left out in the parts: after a change of
/// those rules an old fingerprint equals no new one, which shows as a conflict and never as a false
/// replay.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    version: u8,
    digest: [u8; 32],
}

impl Fingerprint {
    /// The version that this build writes.
    pub const VERSION: u8 = 1;

    /// The fingerprint of a JSON body, numbers exact. A body without a canonical form counts by
    /// its raw bytes, an empty one as empty.
    #[must_use]
    pub fn of_json(body: &[u8]) -> Self {
        Self::of_json_strict(body).unwrap_or_else(|_| Self::seal(Kind::Raw, &[], body))
    }

    /// As [`Fingerprint::of_json`], for callers that refuse a body without a canonical form. An
    /// empty body is still empty.
    ///
    /// # Errors
    /// [`CanonicalError`] with the byte offset where the body has no canonical form.
    pub fn of_json_strict(body: &[u8]) -> Result<Self, CanonicalError> {
        if body.is_empty() {
            return Ok(Self::seal(Kind::Empty, &[], body));
        }
        Self::seal_json(NumberMode::Exact, &[], body)
    }

    /// The fingerprint of a body that is not JSON: its bytes as they are. An empty one counts as
    /// empty.
    #[must_use]
    pub fn of_bytes(body: &[u8]) -> Self {
        let kind = if body.is_empty() {
            Kind::Empty
        } else {
            Kind::Raw
        };
        Self::seal(kind, &[], body)
    }

    /// The fingerprint of what `serde_json` writes for a value: the same as of that text.
    ///
    /// # Errors
    /// Those of [`serde_json::to_vec`], such as a map whose keys are no strings.
    pub fn of_value(value: &(impl Serialize + ?Sized)) -> Result<Self, serde_json::Error> {
        serde_json::to_vec(value).map(|text| Self::of_json(&text))
    }

    /// Puts a stored fingerprint together again. A version that this build does not know is kept
    /// as it is: such a fingerprint equals no fresh one, so its record blocks.
    #[must_use]
    pub const fn from_parts(version: u8, digest: [u8; 32]) -> Self {
        Self { version, digest }
    }

    /// The version of the rules that made it.
    #[must_use]
    pub const fn version(&self) -> u8 {
        self.version
    }

    /// The SHA-256.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The version and the SHA-256 in 66 lower-case hex digits. [`FromStr`] reads it back.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex(&[self.version]) + &hex(&self.digest)
    }

    /// Appends what is hashed for [`Fingerprint::of_json`].
    pub(crate) fn preimage_of_json(body: &[u8], out: &mut Vec<u8>) {
        if canonical::append(body, &Self::start(Kind::Exact), out).is_err() {
            Self::preimage_of_bytes(body, out);
        }
    }

    /// Appends what is hashed for [`Fingerprint::of_bytes`].
    pub(crate) fn preimage_of_bytes(body: &[u8], out: &mut Vec<u8>) {
        let kind = if body.is_empty() {
            Kind::Empty
        } else {
            Kind::Raw
        };
        out.extend_from_slice(&Self::start(kind));
        out.extend_from_slice(body);
    }

    /// Hashes a request. The layout is in the documentation of the type.
    fn seal(kind: Kind, parts: &[Part<'_>], body: &[u8]) -> Self {
        let mut hash = Self::open(kind, parts);
        hash.update([END_OF_PARTS]);
        hash.update(body);
        Self::close(hash)
    }

    /// Hashes a request with a JSON body that is not empty.
    #[inline(always)]
    fn seal_json(
        mode: NumberMode,
        parts: &[Part<'_>],
        body: &[u8],
    ) -> Result<Self, CanonicalError> {
        let mut hash;
        // In one go where there are no parts: each update costs as much as a few dozen bytes.
        let start = Self::start(Kind::from(mode));
        let head = if parts.is_empty() {
            hash = Sha256::new();
            &start[..]
        } else {
            hash = Self::open(Kind::from(mode), parts);
            &[END_OF_PARTS]
        };
        canonical::canonicalize_into(body, mode, head, |form| hash.update(form))?;
        Ok(Self::close(hash))
    }

    /// What is hashed where there are no parts, up to the body.
    fn start(kind: Kind) -> [u8; 8] {
        let [i, d, e, m, p] = *b"idemp";
        [i, d, e, m, p, Self::VERSION, kind as u8, END_OF_PARTS]
    }

    /// Hashes what comes before the end of the parts.
    fn open(kind: Kind, parts: &[Part<'_>]) -> Sha256 {
        // In one go: each update costs as much as a few dozen bytes.
        let texts = parts.iter().map(|part| part.name.len() + part.value.len());
        let length = 7 + 17 * parts.len() + texts.sum::<usize>();
        let mut framed = Vec::with_capacity(length);
        framed.extend_from_slice(&Self::start(kind)[..7]);
        for part in parts {
            framed.push(part.tag as u8);
            for text in [part.name, part.value] {
                framed.extend_from_slice(&(text.len() as u64).to_be_bytes());
                framed.extend_from_slice(text);
            }
        }
        Sha256::new_with_prefix(&framed)
    }

    fn close(hash: Sha256) -> Self {
        Self {
            version: Self::VERSION,
            digest: hash.finalize().into(),
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}:{}...", self.version, hex(&self.digest[..4]))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintFormatError;

    fn from_str(text: &str) -> Result<Self, FingerprintFormatError> {
        let mut bytes = [0; 33];
        if text.len() != 2 * bytes.len() {
            return Err(FingerprintFormatError);
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            for &digit in pair {
                let digit = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'a'..=b'f' => digit - b'a' + 10,
                    _ => return Err(FingerprintFormatError),
                };
                *byte = *byte << 4 | digit;
            }
        }
        let [version, digest @ ..] = bytes;
        Ok(Self { version, digest })
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A text that is not what [`Fingerprint::to_hex`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a fingerprint is written in 66 lower-case hex digits")]
pub struct FingerprintFormatError;

/// What the body is taken for. The numbers are hashed: none is ever used again for another kind.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Exact = 1,
    Rfc8785 = 2,
    Rfc8785Strict = 3,
    Raw = 4,
    Empty = 5,
}

impl From<NumberMode> for Kind {
    fn from(mode: NumberMode) -> Self {
        match mode {
            NumberMode::Exact => Self::Exact,
            NumberMode::Rfc8785 => Self::Rfc8785,
            NumberMode::Rfc8785Strict => Self::Rfc8785Strict,
        }
    }
}

/// A part of the request beside the body.
struct Part<'a> {
    tag: Tag,
    name: &'a [u8],
    value: &'a [u8],
}

/// Where the tag of another part could be. No [`Tag`] is zero.
const END_OF_PARTS: u8 = 0;

/// What a part is. The letters are hashed: none is ever used again for another part.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Tag {
    /// A parameter of the content type.
    Parameter = b'a',
    /// A content type: the media type, or under the name `?` one that is malformed, as it came.
    ContentType = b'c',
    /// A header; the name in lower case.
    Header = b'h',
    /// The method.
    Method = b'm',
    /// A part that the application named.
    Named = b'n',
    /// The path.
    Path = b'p',
    /// A parameter of the query: its name, and the whole of it as the value.
    Query = b'q',
    /// A selected field: the pointer, and 1 with the canonical value behind it, or 0 where there
    /// is none.
    Selected = b's',
    /// A pointer to what is left out, without a value.
    LeftOut = b'x',
}
