//! The response that is stored and replayed: [`StoredResponse`], and its encoding.

use std::borrow::Cow;

use thiserror::Error;

use crate::body::{Body, joined};

use super::filter::HeaderFilter;
use super::status::is_final;
use super::token::{is_token, lower_case};

/// What a replay says besides the stored headers: that it is one, and that no cache may keep it.
pub const REPLAY_MARKS: [(&str, &str); 2] = [
    ("idempotent-replayed", "true"),
    ("cache-control", "no-store"),
];

/// A final response, byte for byte: status, the headers that a [`HeaderFilter`] kept, body.
///
/// It borrows what it is made of, so the body is copied once when it is encoded and not at all
/// when it is decoded.
///
/// The encoding, with numbers in big-endian order:
///
/// ```text
/// version = 1     u8
/// status          u16   200 to 599
/// headers         u8    at most 64; then each
///   name          u16 length, lower-case token
///   value         u16 length, bytes without control characters, a tab excepted
/// body            u64 length, bytes to the end
/// ```
///
/// ```
/// use idemp::http::{HeaderFilter, StoredResponse};
///
/// let headers = [("Location", &b"/tasks/1"[..]), ("Set-Cookie", b"sid=1")];
/// let response = StoredResponse::new(201, headers, b"{}", &HeaderFilter::default())?;
/// let stored = response.encode();
///
/// let replayed = StoredResponse::decode(&stored)?;
/// assert_eq!(replayed, response);
/// assert_eq!(replayed.headers().collect::<Vec<_>>(), [("location", &b"/tasks/1"[..])]);
/// # Ok::<(), idemp::http::StoredResponseError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct StoredResponse<'a> {
    status: u16,
    headers: Vec<(Cow<'a, str>, &'a [u8])>,
    body: &'a [u8],
}

impl<'a> StoredResponse<'a> {
    /// The version of the encoding that this build writes.
    pub const VERSION: u8 = 1;
    /// The most headers, inclusive, repeated ones counted each.
    pub const MAX_HEADERS: usize = 64;
    /// The most bytes of all names and values together, inclusive.
    pub const MAX_HEADER_BYTES: usize = 16 * 1024;

    /// Takes the status, the headers that `filter` keeps, in their order and with their names in
    /// lower case, and the body.
    ///
    /// # Errors
    /// [`StoredResponseError`] where the response cannot be stored: it is not a final one, or the
    /// kept headers are too many, too large or malformed. It can still be sent.
    pub fn new(
        status: u16,
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        body: &'a [u8],
        filter: &HeaderFilter,
    ) -> Result<Self, StoredResponseError> {
        let headers = filter.keep(headers).into_iter();
        let headers = headers
            .map(|(name, value)| (lower_case(name), value))
            .collect();
        Self {
            status,
            headers,
            body,
        }
        .checked()
    }

    /// The status, 200 to 599.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The stored headers in their order, names in lower case, repeated ones each.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &'a [u8])> {
        self.headers
            .iter()
            .map(|(name, value)| (name.as_ref(), *value))
    }

    /// The headers of a replay: the stored ones, then [`REPLAY_MARKS`]. The server adds its own,
    /// [`StoredResponse::content_length`] among them.
    pub fn replay_headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let marks = REPLAY_MARKS.iter();
        self.headers()
            .chain(marks.map(|(name, value)| (*name, value.as_bytes())))
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The `Content-Length` of a replay in bytes. None for 204 and 304, which say nothing of a
    /// body (RFC 9110, section 8.6).
    #[must_use]
    pub fn content_length(&self) -> Option<usize> {
        (!matches!(self.status, 204 | 304)).then_some(self.body.len())
    }

    /// The bytes to store.
    #[must_use]
    pub fn encode(&self) -> Body {
        joined(&[&self.head(self.body.len() as u64), self.body]).into()
    }

    /// What stands before a body of so many bytes.
    pub(crate) fn head(&self, body_length: u64) -> Vec<u8> {
        let mut head = Vec::with_capacity(4 + 4 * self.headers.len() + self.header_bytes() + 8);
        head.push(Self::VERSION);
        head.extend_from_slice(&self.status.to_be_bytes());
        // `checked` has held these to limits that fit.
        head.push(self.headers.len() as u8);
        for (name, value) in self.headers() {
            for part in [name.as_bytes(), value] {
                head.extend_from_slice(&(part.len() as u16).to_be_bytes());
                head.extend_from_slice(part);
            }
        }
        head.extend_from_slice(&body_length.to_be_bytes());
        head
    }

    /// Reads what [`StoredResponse::encode`] wrote. What it accepts, `encode` gives back byte for
    /// byte, and an HTTP library can send.
    ///
    /// # Errors
    /// [`StoredResponseError`]; never a panic, whatever the bytes.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, StoredResponseError> {
        let (mut response, body_at) = Self::decode_head(bytes, bytes.len() as u64)?;
        response.body = &bytes[body_at..];
        Ok(response)
    }

    /// Reads what stands before a body, and where the body begins. `bytes` is the beginning of what
    /// is stored, `length` all of its length.
    pub(crate) fn decode_head(
        bytes: &'a [u8],
        length: u64,
    ) -> Result<(Self, usize), StoredResponseError> {
        const CORRUPT: StoredResponseError = StoredResponseError::Corrupt;

        let mut rest = bytes;
        let [version] = take(&mut rest).ok_or(CORRUPT)?;
        match version {
            0 => return Err(CORRUPT),
            Self::VERSION => {}
            version => return Err(StoredResponseError::NewerVersion { version }),
        }
        let status = u16::from_be_bytes(take(&mut rest).ok_or(CORRUPT)?);
        let [count] = take(&mut rest).ok_or(CORRUPT)?;
        let mut headers = Vec::with_capacity(usize::from(count).min(Self::MAX_HEADERS));
        for _ in 0..count {
            let name = framed(&mut rest).ok_or(CORRUPT)?;
            let name = std::str::from_utf8(name).map_err(|_| StoredResponseError::HeaderName)?;
            let value = framed(&mut rest).ok_or(CORRUPT)?;
            headers.push((Cow::Borrowed(name), value));
        }
        let body_length = u64::from_be_bytes(take(&mut rest).ok_or(CORRUPT)?);
        let body_at = bytes.len() - rest.len();
        if length.checked_sub(body_at as u64) != Some(body_length) {
            return Err(CORRUPT);
        }
        let head = Self {
            status,
            headers,
            body: b"",
        };
        Ok((head.checked()?, body_at))
    }

    fn header_bytes(&self) -> usize {
        self.headers
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum()
    }

    fn checked(self) -> Result<Self, StoredResponseError> {
        if !is_final(self.status) {
            return Err(StoredResponseError::Status {
                status: self.status,
            });
        }
        if self.headers.len() > Self::MAX_HEADERS {
            return Err(StoredResponseError::TooManyHeaders);
        }
        if self.header_bytes() > Self::MAX_HEADER_BYTES {
            return Err(StoredResponseError::HeadersTooLarge);
        }
        for (name, value) in self.headers() {
            if !is_token(name) || name.bytes().any(|c| c.is_ascii_uppercase()) {
                return Err(StoredResponseError::HeaderName);
            }
            // RFC 9110, section 5.5, and what HTTP libraries agree to send.
            // To the end without a branch, so that it looks at many bytes at once.
            let control = |c: &u8| c.is_ascii_control() & (*c != b'\t');
            if value.iter().fold(false, |found, c| found | control(c)) {
                return Err(StoredResponseError::HeaderValue);
            }
        }
        Ok(self)
    }
}

impl std::fmt::Debug for StoredResponse<'_> {
    /// Shows sizes and header names only: values and body are the caller's.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.headers().map(|(name, _)| name).collect();
        f.debug_struct("StoredResponse")
            .field("status", &self.status)
            .field("headers", &names)
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

/// Why a response cannot be stored, or stored bytes are not a response. Holds no header and no
/// part of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StoredResponseError {
    /// The bytes are damaged.
    #[error("the stored response is corrupt")]
    Corrupt,
    /// A later build wrote the bytes.
    #[error(
        "the stored response has version {version}, this build reads up to {}",
        StoredResponse::VERSION
    )]
    NewerVersion {
        /// What the bytes say.
        version: u8,
    },
    /// Not the status of a final response.
    #[error("a response with status {status} cannot be stored, only 200 to 599")]
    Status {
        /// What was given.
        status: u16,
    },
    /// More than [`StoredResponse::MAX_HEADERS`].
    #[error(
        "the response has more than {} headers to store",
        StoredResponse::MAX_HEADERS
    )]
    TooManyHeaders,
    /// More than [`StoredResponse::MAX_HEADER_BYTES`].
    #[error(
        "the response has more than {} bytes of headers to store",
        StoredResponse::MAX_HEADER_BYTES
    )]
    HeadersTooLarge,
    /// A name is not a lower-case token.
    #[error("the response has a malformed header name")]
    HeaderName,
    /// A value holds CR, LF, NUL or another control character.
    #[error("the response has a control character in a header")]
    HeaderValue,
}

impl StoredResponseError {
    /// A stable name, for logs and for other languages.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Corrupt => "corrupt",
            Self::NewerVersion { .. } => "newer_version",
            Self::Status { .. } => "status",
            Self::TooManyHeaders => "too_many_headers",
            Self::HeadersTooLarge => "headers_too_large",
            Self::HeaderName => "header_name",
            Self::HeaderValue => "header_value",
        }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*taken)
}

fn framed<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u16::from_be_bytes(take(rest)?);
    let (taken, behind) = rest.split_at_checked(usize::from(length))?;
    *rest = behind;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn response<'a>(
        status: u16,
        headers: &[(&'a str, &'a [u8])],
        body: &'a [u8],
    ) -> Result<StoredResponse<'a>, StoredResponseError> {
        let filter = HeaderFilter::default().allow("x-own").unwrap();
        StoredResponse::new(status, headers.iter().copied(), body, &filter)
    }

    /// The encoding of headers that `new` would refuse.
    fn unchecked(status: u16, headers: &[(&str, &[u8])], body: &[u8]) -> Vec<u8> {
        let headers = headers
            .iter()
            .map(|(name, value)| (Cow::Borrowed(*name), *value));
        StoredResponse {
            status,
            headers: headers.collect(),
            body,
        }
        .encode()
        .to_vec()
    }

    #[test]
    fn empty_and_binary_bodies_come_back_byte_for_byte() {
        for (status, body) in [
            (200, &b""[..]),
            (201, b"{\"id\":1}"),
            (204, b""),
            (200, b"false"),
            (200, b"0"),
            (200, &[0xFF, 0xFE, 0x00, 0x80]),
            (599, b"x"),
        ] {
            let stored = response(status, &[], body).unwrap().encode().to_vec();
            let replayed = StoredResponse::decode(&stored).unwrap();
            assert_eq!((replayed.status(), replayed.body()), (status, body));
        }
    }

    #[test]
    fn a_body_is_not_copied_when_it_is_decoded() {
        let stored = response(200, &[("ETag", b"e")], b"body")
            .unwrap()
            .encode()
            .to_vec();
        let replayed = StoredResponse::decode(&stored).unwrap();
        assert!(std::ptr::eq(replayed.body(), &stored[stored.len() - 4..]));
    }

    #[test]
    fn repeated_headers_come_back_in_their_order_and_in_lower_case() {
        let headers = [
            ("Link", &b"a"[..]),
            ("X-Own", b"\xFF\t "),
            ("link", b""),
            ("LINK", b"a"),
        ];
        let stored = response(200, &headers, b"").unwrap().encode().to_vec();
        let replayed = StoredResponse::decode(&stored).unwrap();
        let expected = [
            ("link", &b"a"[..]),
            ("x-own", b"\xFF\t "),
            ("link", b""),
            ("link", b"a"),
        ];
        assert_eq!(replayed.headers().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_first_callers_cookie_and_request_id_are_not_stored() {
        let headers = [
            ("Set-Cookie", &b"sid=1"[..]),
            ("X-Request-Id", b"req_1"),
            ("Date", b"now"),
            ("Content-Length", b"4"),
            ("Idempotent-Replayed", b"false"),
            ("Location", b"/1"),
        ];
        let response = response(201, &headers, b"body").unwrap();
        assert_eq!(
            response.headers().collect::<Vec<_>>(),
            [("location", &b"/1"[..])]
        );
    }

    #[test]
    fn a_replay_is_marked_and_not_to_be_cached() {
        let response = response(201, &[("Location", b"/1")], b"body").unwrap();
        let expected = [
            ("location", &b"/1"[..]),
            ("idempotent-replayed", b"true"),
            ("cache-control", b"no-store"),
        ];
        assert_eq!(response.replay_headers().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn content_length_is_that_of_the_body_and_absent_where_none_is_allowed() {
        assert_eq!(
            response(201, &[], b"body").unwrap().content_length(),
            Some(4)
        );
        assert_eq!(response(200, &[], b"").unwrap().content_length(), Some(0));
        assert_eq!(response(204, &[], b"").unwrap().content_length(), None);
        assert_eq!(response(304, &[], b"").unwrap().content_length(), None);
    }

    #[test]
    fn a_status_that_is_not_final_is_neither_stored_nor_replayed() {
        for status in [0, 100, 101, 199, 600, 65535] {
            let error = Err(StoredResponseError::Status { status });
            assert_eq!(response(status, &[], b""), error);
            assert_eq!(StoredResponse::decode(&unchecked(status, &[], b"")), error);
        }
    }

    #[test]
    fn the_limits_of_the_headers_are_inclusive() {
        let link = ("link", &b"v"[..]);
        assert!(response(200, &[link; 64], b"").is_ok());
        let error = Err(StoredResponseError::TooManyHeaders);
        assert_eq!(response(200, &[link; 65], b""), error);
        assert_eq!(
            StoredResponse::decode(&unchecked(200, &[link; 65], b"")),
            error
        );

        let value = vec![b'v'; StoredResponse::MAX_HEADER_BYTES - 4 + 1];
        assert!(response(200, &[("link", &value[1..])], b"").is_ok());
        let error = Err(StoredResponseError::HeadersTooLarge);
        assert_eq!(response(200, &[("link", &value)], b""), error);
        assert_eq!(
            StoredResponse::decode(&unchecked(200, &[("link", &value)], b"")),
            error
        );
    }

    #[test]
    fn headers_that_are_dropped_do_not_count() {
        let headers = [("x-dropped", &b"\r\n"[..]); 100];
        assert!(response(200, &headers, b"").is_ok());
    }

    #[test]
    fn a_value_that_would_split_the_response_is_refused() {
        for value in [&b"a\r\nb"[..], b"\r", b"\n", b"\0", b"\x1b", b"\x7f"] {
            let error = Err(StoredResponseError::HeaderValue);
            assert_eq!(response(200, &[("link", value)], b""), error);
            assert_eq!(
                StoredResponse::decode(&unchecked(200, &[("link", value)], b"")),
                error
            );
        }
    }

    #[test]
    fn a_stored_name_that_is_no_lower_case_token_is_refused() {
        for name in ["", "Link", "li nk", "link:", "ü"] {
            let stored = unchecked(200, &[(name, b"")], b"");
            assert_eq!(
                StoredResponse::decode(&stored),
                Err(StoredResponseError::HeaderName)
            );
        }
        let mut stored = unchecked(200, &[("link", b"")], b"");
        stored[6] = 0xFF;
        assert_eq!(
            StoredResponse::decode(&stored),
            Err(StoredResponseError::HeaderName)
        );
    }

    #[test]
    fn every_cut_and_every_addition_is_corrupt() {
        let stored = response(200, &[("link", b"a"), ("etag", b"e")], b"body")
            .unwrap()
            .encode()
            .to_vec();
        for end in 0..stored.len() {
            assert_eq!(
                StoredResponse::decode(&stored[..end]),
                Err(StoredResponseError::Corrupt)
            );
        }
        let longer = [&stored[..], b"x"].concat();
        assert_eq!(
            StoredResponse::decode(&longer),
            Err(StoredResponseError::Corrupt)
        );
    }

    #[test]
    fn a_later_version_is_named_and_version_0_is_corrupt() {
        let mut stored = response(200, &[], b"").unwrap().encode().to_vec();
        stored[0] = 2;
        let error = StoredResponseError::NewerVersion { version: 2 };
        assert_eq!(StoredResponse::decode(&stored), Err(error));
        stored[0] = 0;
        assert_eq!(
            StoredResponse::decode(&stored),
            Err(StoredResponseError::Corrupt)
        );
    }

    #[test]
    fn debug_shows_neither_values_nor_body() {
        let shown = format!(
            "{:?}",
            response(200, &[("link", b"s3cret")], b"s3cret").unwrap()
        );
        assert!(
            shown.contains("link") && !shown.contains("s3cret"),
            "{shown}"
        );
        assert!(!shown.contains("115"), "{shown}");
    }

    proptest! {
        #[test]
        fn what_was_stored_is_what_is_replayed(
            status in 200u16..=599,
            headers in prop::collection::vec(("[lL]in[kK]|[eE]tag|[xX]-Own", "[ -~\t]{0,40}"), 0..12),
            body: Vec<u8>,
        ) {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (&**name, value.as_bytes())).collect();
            let response = response(status, &headers, &body).unwrap();
            let stored = response.encode().to_vec();
            prop_assert_eq!(StoredResponse::decode(&stored).unwrap(), response.clone());
            let lower = headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), *value));
            let found = response.headers().map(|(name, value)| (name.to_owned(), value));
            prop_assert!(found.eq(lower));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic_and_what_it_reads_is_canonical(mut bytes: Vec<u8>, framed: bool) {
            if framed && bytes.len() > 4 {
                bytes[..4].copy_from_slice(&[1, 0, 200, 1]);
            }
            if let Ok(response) = StoredResponse::decode(&bytes) {
                prop_assert_eq!(response.encode().to_vec(), bytes);
            }
        }

        #[test]
        fn one_flipped_byte_never_panics_and_stays_canonical(at in 0usize..40, with in 1u8..) {
            let mut bytes = response(200, &[("link", b"abc"), ("etag", b"e")], b"body").unwrap().encode().to_vec();
            let at = at % bytes.len();
            bytes[at] ^= with;
            if let Ok(response) = StoredResponse::decode(&bytes) {
                prop_assert_eq!(response.encode().to_vec(), bytes);
            }
        }
    }
}
