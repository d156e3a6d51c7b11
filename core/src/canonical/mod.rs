//! The canonical form of JSON: RFC 8785, read from the bytes, with numbers kept exact.
//!
//! Two texts have one canonical form only if they are the same data: white space, the order of
//! members and the way a string is escaped are merged, and so are spellings of one number (`1`,
//! `1.0`, `10e-1`). Everything that an application could tell apart stays apart.
//!
//! What has no canonical form is an error with the byte offset: text that is not JSON (RFC 8259),
//! a byte-order mark, invalid UTF-8, a member name that comes twice in one object (through escapes
//! too), a lone surrogate, nesting deeper than [`MAX_DEPTH`], a number out of range, and text longer
//! than 512 MiB.
//!
//! The work is linear in the length of the input, but for sorting the members of one object, and
//! the memory is a small multiple of it.

mod emit;
mod number;
mod order;
mod parser;
mod pointer;
mod scan;
mod string;
mod workspace;

use std::borrow::Cow;

use thiserror::Error;

pub use pointer::PointerError;
pub(crate) use pointer::{Pointer, leave_out};
use workspace::Workspace;

/// The deepest nesting of arrays and objects, inclusive: `[]` is one deep.
pub const MAX_DEPTH: usize = 128;

/// How numbers are written.
///
/// All modes agree on every number of at most 15 significant digits that a double can hold, and
/// on everything that a printer of shortest doubles wrote: `JSON.stringify`, `serde_json` and most
/// others. (Where two shortest forms are equally close, as for 1424953923781206.25, that is the
/// even one; a printer that takes the odd one, as `format!` does, is told apart by `Exact`.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum NumberMode {
    /// The exact decimal value of the literal, laid out by the rules of ECMAScript: the one
    /// deviation from RFC 8785, and what a fingerprint is made of. `9007199254740992` and
    /// `9007199254740993` stay apart, `1e400` is `1e+400`. The exponent, in scientific notation,
    /// goes to 10^9 either way.
    #[default]
    Exact,
    /// RFC 8785 to the bit, to exchange canonical forms with other implementations: each number is
    /// the double nearest to it (section 3.2.2.3).
    ///
    /// **This merges different numbers**: beyond 2^53 neighbouring integers collapse into one
    /// (`9007199254740993` is written `9007199254740992`, and so are account numbers of that
    /// length), so do decimals of more than 15 to 17 digits, and what is too small becomes `0`.
    /// What is too large for a double is an error.
    Rfc8785,
    /// As [`NumberMode::Rfc8785`], but an integer whose value the form would change is
    /// [`CanonicalErrorKind::InexactInteger`], so integers never collapse.
    ///
    /// An integer passes where the digits that RFC 8785 writes are its own: everything up to 2^53,
    /// and of the larger ones those that are written as a printer of doubles writes them.
    /// `9223372036854775808` (2^63) is refused although a double holds it, since its form would
    /// be `9223372036854776000`, which is another integer. Fractions are rounded as in RFC 8785.
    Rfc8785Strict,
}

/// Writes a JSON text in its canonical form.
///
/// Input that is canonical already is lent back, as is canonical input between white space.
///
/// ```
/// use idemp::{NumberMode, canonicalize};
///
/// let text = br#" {"b": 1.0, "a": "\u0041"} "#;
/// assert_eq!(&*canonicalize(text, NumberMode::Exact)?, br#"{"a":"A","b":1}"#);
///
/// let twice = canonicalize(br#"{"a":1,"\u0061":2}"#, NumberMode::Exact).unwrap_err();
/// assert_eq!((twice.to_string(), twice.offset()), ("duplicate member name at byte 7".into(), 7));
/// # Ok::<(), idemp::CanonicalError>(())
/// ```
///
/// # Errors
/// [`CanonicalError`] where the text has no canonical form. Invalid UTF-8 is found before anything
/// else, then the first error in reading order; a duplicate name shows at the end of its object.
pub fn canonicalize(input: &[u8], mode: NumberMode) -> Result<Cow<'_, [u8]>, CanonicalError> {
    let mut workspace = Workspace::lend();
    parser::read(input, mode, &mut workspace)?;
    if let Some(same) = workspace.unchanged(input) {
        return Ok(Cow::Borrowed(same));
    }
    let mut form = Vec::with_capacity(input.len());
    emit::write(input, &mut workspace, |part| form.extend_from_slice(part));
    Ok(Cow::Owned(form))
}

/// Hands the canonical form to `sink`, part by part, and without a copy where the input has it
/// already. Where there is none, `sink` gets nothing.
#[inline]
pub(crate) fn canonicalize_into(
    input: &[u8],
    mode: NumberMode,
    mut sink: impl FnMut(&[u8]),
) -> Result<(), CanonicalError> {
    let mut workspace = Workspace::lend();
    parser::read(input, mode, &mut workspace)?;
    match workspace.unchanged(input) {
        Some(same) => sink(same),
        None => emit::write(input, &mut workspace, sink),
    }
    Ok(())
}

/// Appends `text` as a canonical string, with its quotes.
pub(crate) fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for unit in text.chars() {
        string::write(unit, out);
    }
    out.push(b'"');
}

/// Why a text has no canonical form, and where. The message holds nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{kind} at byte {offset}")]
pub struct CanonicalError {
    kind: CanonicalErrorKind,
    offset: usize,
}

impl CanonicalError {
    /// What is wrong.
    #[must_use]
    pub const fn kind(&self) -> CanonicalErrorKind {
        self.kind
    }

    /// Where, in bytes from the start of the input: the byte that does not belong; the backslash
    /// of a lone surrogate; the first byte of a number; the opening quote of a repeated name; the
    /// bracket that is too deep; the end of the input where more was expected.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }
}

/// What is wrong with a text that has no canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum CanonicalErrorKind {
    /// A byte that JSON does not allow there, such as a trailing comma, a byte-order mark, a
    /// control character in a string.
    #[error("unexpected character")]
    Syntax,
    /// The input ends too early; it may be empty.
    #[error("unexpected end")]
    Eof,
    /// More than one value.
    #[error("text behind the value")]
    Trailing,
    /// A member name that comes twice in one object.
    #[error("duplicate member name")]
    Duplicate,
    /// Half of a surrogate pair, escaped: no character, and nothing that UTF-8 can hold.
    #[error("lone surrogate")]
    LoneSurrogate,
    /// Bytes that are not UTF-8.
    #[error("invalid utf-8")]
    Utf8,
    /// Arrays and objects more than [`MAX_DEPTH`] deep.
    #[error("nesting deeper than {MAX_DEPTH}")]
    Depth,
    /// A number whose exponent is beyond 10^9 either way or, where a double is asked for, that is
    /// beyond the largest one.
    #[error("number out of range")]
    NumberRange,
    /// An integer that a double would change, in [`NumberMode::Rfc8785Strict`].
    #[error("integer that a double cannot hold")]
    InexactInteger,
    /// A text longer than 512 MiB.
    #[error("text longer than 512 MiB")]
    TooLong,
}
