//! The `Idempotency-Key` header: from its values to a [`Key`], and back.

use std::borrow::Cow;

use thiserror::Error;

use super::item::{self, ItemError};
use crate::{Key, KeyError};

/// The name of the request header, in lower case.
pub const KEY_HEADER: &str = "idempotency-key";

/// Which forms of the header are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Strictness {
    /// The String Item of RFC 9651 (`"abc"`), and the bare value (`abc`) that most clients send.
    #[default]
    Lenient,
    /// The String Item only.
    Strict,
}

/// Reads the key from the values of every `Idempotency-Key` header of one request. No header is
/// `None`.
///
/// - The value is a String Item of RFC 9651, section 3.3.3: `"abc"`, with `\"` and `\\` escaped.
///   Parameters behind it are held to the grammar and ignored, so `"abc";v=1` names the key `abc`.
/// - Where [`Strictness::Lenient`] allows, a value without quotes is the key as it stands, so
///   `abc` and `"abc"` name one key. It holds visible ASCII (0x21 to 0x7E): UUIDs, base64 with
///   `+/=`, `order:17`, `user@host`. Four characters and the space need the quoted form: a comma
///   and a semicolon would make a list or a parameter of it, a quote and a backslash leave open
///   whether they are escaped.
/// - Spaces and tabs around the value are dropped.
///
/// # Errors
/// [`KeyHeaderError`], which never holds the value. A value that opens a quote is never taken for
/// a bare one.
///
/// ```
/// use idemp::http::{KeyHeaderError, Strictness, parse_idempotency_key};
///
/// let quoted = parse_idempotency_key([&b"\"final-1769660861\""[..]], Strictness::Lenient)?;
/// let bare = parse_idempotency_key([&b"final-1769660861"[..]], Strictness::Lenient)?;
/// assert_eq!(quoted, bare);
/// assert_eq!(quoted.unwrap().as_str(), "final-1769660861");
///
/// let list = parse_idempotency_key([&b"\"a\", \"b\""[..]], Strictness::Lenient);
/// assert_eq!(list, Err(KeyHeaderError::List));
/// # Ok::<(), KeyHeaderError>(())
/// ```
pub fn parse_idempotency_key<'a>(
    values: impl IntoIterator<Item = &'a [u8]>,
    strictness: Strictness,
) -> Result<Option<Key>, KeyHeaderError> {
    let mut values = values.into_iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(KeyHeaderError::Repeated);
    }
    let value = printable(trim(value))?;
    let key = match value.as_bytes().first() {
        None => return Err(KeyHeaderError::Empty),
        Some(b'"') => item::string_item(value)?,
        Some(_) if strictness == Strictness::Strict => return Err(KeyHeaderError::NotQuoted),
        Some(_) => Cow::Borrowed(bare(value)?),
    };
    Ok(Some(Key::new(key)?))
}

/// Writes `key` as a String Item of RFC 9651: `"abc"`, with `"` and `\` escaped.
///
/// # Errors
/// [`KeyHeaderError::NotPrintable`] for a key that is not printable ASCII, such as a file name
/// with an umlaut. [`Key::digest`] makes a key of it that is.
///
/// ```
/// use idemp::{Key, http::format_key_header};
///
/// assert_eq!(format_key_header(&Key::new("a \"b\"")?)?, r#""a \"b\"""#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn format_key_header(key: &Key) -> Result<String, KeyHeaderError> {
    let key = printable(key.as_str().as_bytes())?;
    let mut item = String::with_capacity(key.len() + 2);
    item.push('"');
    for c in key.chars() {
        if matches!(c, '"' | '\\') {
            item.push('\\');
        }
        item.push(c);
    }
    item.push('"');
    Ok(item)
}

/// Why an `Idempotency-Key` header was refused, always with status 400. Holds nothing of the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyHeaderError {
    /// The header came more than once.
    #[error("the idempotency key header is repeated")]
    Repeated,
    /// The value is a list.
    #[error("the idempotency key header holds a list")]
    List,
    /// There is no value, or the quotes hold nothing.
    #[error("the idempotency key is empty")]
    Empty,
    /// The key, without quotes and escapes, is too long.
    #[error("the idempotency key is longer than {} bytes", Key::MAX_BYTES)]
    TooLong,
    /// The value holds a byte outside of 0x20 to 0x7E.
    #[error("the idempotency key holds a character that is not printable ascii")]
    NotPrintable,
    /// The closing quote is missing.
    #[error("the idempotency key has no closing quote")]
    Unclosed,
    /// The value has no quotes, and the strict form was asked for.
    #[error("the idempotency key is not in double quotes")]
    NotQuoted,
    /// The value breaks the grammar in another way.
    #[error("the idempotency key header is malformed")]
    Malformed,
}

impl KeyHeaderError {
    /// A stable name, for logs and for other languages.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Repeated => "repeated",
            Self::List => "list",
            Self::Empty => "empty",
            Self::TooLong => "too_long",
            Self::NotPrintable => "not_printable",
            Self::Unclosed => "unclosed",
            Self::NotQuoted => "not_quoted",
            Self::Malformed => "malformed",
        }
    }
}

impl From<ItemError> for KeyHeaderError {
    fn from(error: ItemError) -> Self {
        match error {
            ItemError::Unclosed => Self::Unclosed,
            ItemError::List => Self::List,
            ItemError::Malformed => Self::Malformed,
        }
    }
}

impl From<KeyError> for KeyHeaderError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Empty => Self::Empty,
            KeyError::TooLong { .. } => Self::TooLong,
            KeyError::Control => Self::NotPrintable,
            KeyError::TooManyParts | KeyError::Format => Self::Malformed,
        }
    }
}

/// Drops the optional whitespace of RFC 9110, section 5.6.3.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn printable(value: &[u8]) -> Result<&str, KeyHeaderError> {
    std::str::from_utf8(value)
        .ok()
        .filter(|text| text.bytes().all(|c| matches!(c, 0x20..=0x7E)))
        .ok_or(KeyHeaderError::NotPrintable)
}

fn bare(value: &str) -> Result<&str, KeyHeaderError> {
    if value.contains(',') {
        // Also what a proxy makes of a repeated header.
        Err(KeyHeaderError::List)
    } else if value.contains([' ', ';', '"', '\\']) {
        Err(KeyHeaderError::Malformed)
    } else {
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lenient(value: &[u8]) -> Result<Option<Key>, KeyHeaderError> {
        parse_idempotency_key([value], Strictness::Lenient)
    }

    fn strict(value: &[u8]) -> Result<Option<Key>, KeyHeaderError> {
        parse_idempotency_key([value], Strictness::Strict)
    }

    #[test]
    fn a_missing_header_is_not_an_error() {
        assert_eq!(parse_idempotency_key([], Strictness::Lenient), Ok(None));
        assert_eq!(parse_idempotency_key([], Strictness::Strict), Ok(None));
    }

    #[test]
    fn a_repeated_header_is_refused_even_where_both_values_agree() {
        for pair in [[&b"\"a\""[..], b"\"a\""], [b"a", b"b"], [b"", b""]] {
            let read = parse_idempotency_key(pair, Strictness::Lenient);
            assert_eq!(read, Err(KeyHeaderError::Repeated));
        }
    }

    #[test]
    fn the_limit_counts_the_bytes_of_the_key_and_not_of_its_escapes() {
        let longest = Key::new("\\".repeat(Key::MAX_BYTES)).unwrap();
        let header = format_key_header(&longest).unwrap();
        assert_eq!(header.len(), 2 * Key::MAX_BYTES + 2);
        assert_eq!(strict(header.as_bytes()), Ok(Some(longest)));
        let longer = "k".repeat(Key::MAX_BYTES + 1);
        assert_eq!(lenient(longer.as_bytes()), Err(KeyHeaderError::TooLong));
        let longer = format!("\"{longer}\"");
        assert_eq!(lenient(longer.as_bytes()), Err(KeyHeaderError::TooLong));
    }

    #[test]
    fn an_unclosed_quote_is_never_a_bare_value() {
        for value in [&b"\"abc"[..], b"\"", b"\"abc\\\"", b"abc\""] {
            let error = lenient(value).unwrap_err();
            assert!(matches!(
                error,
                KeyHeaderError::Unclosed | KeyHeaderError::Malformed
            ));
        }
    }

    #[test]
    fn an_error_tells_nothing_of_the_value() {
        let error = lenient(b"\"s3cret").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }

    #[test]
    fn a_key_that_no_header_can_carry_is_not_written() {
        let key = Key::new("datei-ü.mp4").unwrap();
        assert_eq!(format_key_header(&key), Err(KeyHeaderError::NotPrintable));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(value: Vec<u8>) {
            let _ = lenient(&value);
            let _ = strict(&value);
        }

        #[test]
        fn nearly_right_values_give_valid_keys_or_errors(value in "[\" \\\\ab;=,:?@%0-9.*\t\u{7f}ü-]{0,24}") {
            if let Ok(key) = strict(value.as_bytes()) {
                prop_assert_eq!(lenient(value.as_bytes()).unwrap(), key.clone());
                let key = key.unwrap();
                prop_assert!((1..=Key::MAX_BYTES).contains(&key.as_str().len()));
                prop_assert!(key.as_str().bytes().all(|c| matches!(c, 0x20..=0x7E)));
            }
        }

        #[test]
        fn every_printable_key_survives_its_header(text in "[ -~]{1,255}") {
            let key = Key::new(text).unwrap();
            let header = format_key_header(&key).unwrap();
            prop_assert_eq!(strict(header.as_bytes()), Ok(Some(key)));
        }

        #[test]
        fn the_quoted_and_the_bare_form_name_one_key(text in r"[!#-+\--:<-\[\]-~]{1,255}") {
            let quoted = format!("\"{text}\"");
            let spaced = format!(" \t{text}\t ");
            let key = Ok(Some(Key::new(text.as_str()).unwrap()));
            prop_assert_eq!(&lenient(quoted.as_bytes()), &key);
            prop_assert_eq!(&lenient(text.as_bytes()), &key);
            prop_assert_eq!(&lenient(spaced.as_bytes()), &key);
            prop_assert_eq!(strict(text.as_bytes()), Err(KeyHeaderError::NotQuoted));
        }

        #[test]
        fn a_byte_outside_of_printable_ascii_is_refused(
            before in "[a-z]{1,8}", byte in prop_oneof![0u8..=0x1F, 0x7Fu8..=0xFF], after in "[a-z]{1,8}",
        ) {
            let bare = [before.as_bytes(), &[byte], after.as_bytes()].concat();
            let quoted = [b"\"", bare.as_slice(), b"\""].concat();
            prop_assert_eq!(lenient(&bare), Err(KeyHeaderError::NotPrintable));
            prop_assert_eq!(strict(&quoted), Err(KeyHeaderError::NotPrintable));
        }
    }
}
