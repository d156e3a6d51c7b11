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
mod members;
mod number;
mod order;
mod parser;
mod pointer;
mod scan;
#[cfg(any(test, idemp_small))]
mod small;
mod string;
mod workspace;

use std::borrow::Cow;

use thiserror::Error;

pub use pointer::PointerError;
pub(crate) use pointer::{Pointer, leave_out};
use workspace::Workspace;

/// The deepest nesting of arrays and objects, inclusive: `[]` is one deep.
pub const MAX_DEPTH: usize = 128;

/// The longest text. Offsets are kept in 32 bits, also those in what is rewritten, and that is at
/// most 21 bytes for 4 (`1e20`).
const MAX_BYTES: usize = 1 << 29;

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
    form(input, mode)
}

/// Inlined, as is what it calls with `mode`, so that one call with exact numbers brings no floats.
#[inline(always)]
pub(crate) fn form(input: &[u8], mode: NumberMode) -> Result<Cow<'_, [u8]>, CanonicalError> {
    #[cfg(idemp_small)]
    if mode == NumberMode::Exact {
        let mut form = Vec::new();
        small::append(input, &mut form)?;
        let same = input.trim_ascii();
        return Ok(if form == same {
            Cow::Borrowed(same)
        } else {
            Cow::Owned(form)
        });
    }
    in_two_passes(input, mode)
}

/// Reads, noting what the form changes, and then writes, if it changes anything.
#[inline(always)]
fn in_two_passes(input: &[u8], mode: NumberMode) -> Result<Cow<'_, [u8]>, CanonicalError> {
    let mut workspace = Workspace::lend();
    parser::read(input, mode, &mut workspace)?;
    if let Some(same) = workspace.unchanged(input) {
        return Ok(Cow::Borrowed(same));
    }
    let mut form = Vec::with_capacity(input.len());
    emit::write(input, &mut workspace, b"", |part| {
        form.extend_from_slice(part)
    });
    Ok(Cow::Owned(form))
}

/// Hands `head`, which is short, and the canonical form to `sink`, part by part, and without a copy
/// where the input has it already. Where there is none, `sink` gets nothing.
#[inline(always)]
pub(crate) fn canonicalize_into(
    input: &[u8],
    mode: NumberMode,
    head: &[u8],
    mut sink: impl FnMut(&[u8]),
) -> Result<(), CanonicalError> {
    #[cfg(idemp_small)]
    if mode == NumberMode::Exact {
        let mut form = Vec::new();
        append(input, head, &mut form)?;
        sink(&form);
        return Ok(());
    }
    let mut workspace = Workspace::lend();
    parser::read(input, mode, &mut workspace)?;
    match workspace.unchanged(input) {
        Some(same) => {
            sink(head);
            sink(same);
        }
        None => emit::write(input, &mut workspace, head, sink),
    }
    Ok(())
}

/// Appends `head` and the canonical form, numbers exact. Where there is none, appends nothing.
///
/// Not inlined, and for one kind of sink: a page downloads one of it.
#[cfg(idemp_small)]
#[inline(never)]
pub(crate) fn append(input: &[u8], head: &[u8], out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    let start = out.len();
    out.extend_from_slice(head);
    let read = small::append(input, out);
    if read.is_err() {
        out.truncate(start);
    }
    read
}

/// Appends `head` and the canonical form, numbers exact. Where there is none, appends nothing.
#[cfg(not(idemp_small))]
pub(crate) fn append(input: &[u8], head: &[u8], out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    canonicalize_into(input, NumberMode::Exact, head, |part| {
        out.extend_from_slice(part)
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The canonical form, how many bytes were written for it, and how many words of names were
    /// compared: counts, where a clock would only be right most of the time.
    fn work(input: &[u8]) -> (Vec<u8>, usize, usize) {
        order::COMPARED.set(0);
        let form = canonicalize(input, NumberMode::Exact).unwrap().into_owned();
        let mut workspace = Workspace::lend();
        workspace.written = 0;
        parser::read(input, NumberMode::Exact, &mut workspace).unwrap();
        let mut written = 0;
        if workspace.unchanged(input).is_none() {
            emit::write(input, &mut workspace, b"", |_| {});
            written = workspace.written;
        }
        (form, written, order::COMPARED.get() / 2)
    }

    #[test]
    fn a_string_under_120_objects_out_of_order_is_written_once() {
        let string = "x".repeat(1 << 20);
        let mut text = format!("\"{string}\"");
        for _ in 0..120 {
            text = format!("{{\"b\":{text},\"a\":[]}}");
        }
        let (form, written, _) = work(text.as_bytes());
        assert_eq!(form.len(), text.len());
        assert_eq!(written, text.len());
    }

    #[test]
    fn deep_nesting_that_is_out_of_order_at_each_level_is_written_once() {
        let mut text = String::from("1.0");
        for level in 0..127 {
            let names: Vec<String> = (0..60)
                .map(|n| format!("\"m{}\":{level}", n * 7 % 60))
                .collect();
            text = format!("{{\"z\": {text},{}}}", names.join(", "));
        }
        let (form, written, compared) = work(text.as_bytes());
        assert_eq!(written, form.len());
        assert_eq!(compared, 0, "eight bytes of a name were enough");
    }

    #[test]
    fn many_names_with_a_common_start_are_compared_in_n_log_n() {
        let start = "s".repeat(1000);
        let names: Vec<String> = (0..2000)
            .map(|n| format!("\"{start}{:05}\":{n}", n * 7 % 2000))
            .collect();
        let text = format!("{{{}}}", names.join(","));
        let (form, written, compared) = work(text.as_bytes());
        assert_eq!(written, form.len());
        // 2,000 names of 126 words; sorted with 2 to 4 times as many comparisons as log2 says.
        let log = 11;
        assert!(compared < 2000 * 126 * log * 4, "{compared}");
    }

    #[test]
    fn seventy_thousand_members_are_written_once() {
        let names: Vec<String> = (0..70_000u64)
            .map(|n| format!("\"{}\":{n}.50", n * 7919 % 70_000))
            .collect();
        let text = format!("{{{}}}", names.join(","));
        let (form, written, _) = work(text.as_bytes());
        assert_eq!(written, form.len());
        let names: Vec<&[u8]> = form[1..].split(|&b| b == b',').collect();
        let name =
            |member: &[u8]| -> Vec<u8> { member.split(|&b| b == b'"').nth(1).unwrap().to_vec() };
        assert_eq!(names.len(), 70_000);
        assert!(names.is_sorted_by_key(|member| name(member)));
    }

    #[test]
    fn a_number_of_a_megabyte_is_read_in_one_go() {
        let digits = "7".repeat(1 << 20);
        let zeros = "0".repeat(1 << 20);
        let exact = |text: &str| {
            let form = canonicalize(text.as_bytes(), NumberMode::Exact).unwrap();
            String::from_utf8(form.into_owned()).unwrap()
        };
        let head = &digits[1..];
        assert_eq!(exact(&digits), format!("7.{head}e+{}", (1 << 20) - 1));
        assert_eq!(exact(&format!("0.{digits}")), format!("0.{digits}"));
        assert_eq!(
            exact(&format!("0.{zeros}1")),
            format!("1e-{}", (1 << 20) + 1)
        );
        assert_eq!(exact(&format!("1{zeros}e-{}", 1 << 20)), "1");
        assert_eq!(exact(&format!("0.{zeros}1e1048577")), "1");
        let rfc8785 =
            |text: &str| canonicalize(text.as_bytes(), NumberMode::Rfc8785).map(Cow::into_owned);
        let text = format!("0.{zeros}1e1048577");
        assert_eq!(
            &*rfc8785(&text).unwrap(),
            b"1",
            "std alone would read 0 there"
        );
        assert_eq!(
            rfc8785(&digits).unwrap_err().kind(),
            CanonicalErrorKind::NumberRange
        );
    }

    #[test]
    fn a_hundred_thousand_levels_are_refused_at_the_first_one_too_many() {
        for open in ["[", "{\"a\":"] {
            let text = open.repeat(100_000);
            let error = canonicalize(text.as_bytes(), NumberMode::Exact).unwrap_err();
            assert_eq!(error.kind(), CanonicalErrorKind::Depth);
            assert_eq!(error.offset(), MAX_DEPTH * open.len());
        }
    }

    #[test]
    fn an_order_that_fitted_another_object_is_not_taken_on_trust() {
        let form = |text: &str| {
            let form = canonicalize(text.as_bytes(), NumberMode::Exact);
            form.map(|form| String::from_utf8(form.into_owned()).unwrap())
        };
        // All start with the same name and have as many members, so they share a place.
        let sorted = Ok(String::from(r#"{"a":1,"b":2,"c":3,"d":4}"#));
        for text in [
            r#"{"d":4,"c":3,"b":2,"a":1}"#,
            r#"{"d":4,"a":1,"b":2,"c":3}"#,
            r#"{"d":4,"a":1,"b":2,"c":3}"#,
            r#"{"d":4,"c":3,"a":1,"b":2}"#,
        ] {
            assert_eq!(form(text), sorted);
        }
        for _ in 0..2 {
            let error = form(r#"{"d":4,"a":3,"a":1,"b":2}"#).unwrap_err();
            assert_eq!(error.kind(), CanonicalErrorKind::Duplicate);
            // The same first eight bytes, and what tells them apart comes later.
            let ends = |ends: [u8; 3]| {
                let [x, y, z] = ends.map(|end| format!("\"same start {end}\":{end}"));
                form(&format!("{{{x},{y},{z}}}"))
            };
            let sorted = ends([1, 2, 3]);
            assert_eq!(ends([3, 2, 1]), sorted);
            assert_eq!(ends([3, 1, 2]), sorted);
            assert_eq!(ends([2, 3, 1]), sorted);
            assert!(ends([3, 1, 3]).is_err() && ends([3, 1, 1]).is_err());
        }
    }

    #[test]
    fn the_buffers_that_a_thread_keeps_are_bounded_and_survive_an_error() {
        let names: Vec<String> = (0..200_000).rev().map(|n| format!("\"{n}\":0.0")).collect();
        let large = format!("{{{}}}", names.join(","));
        assert!(canonicalize(large.as_bytes(), NumberMode::Exact).is_ok());
        assert!(Workspace::lend().bytes() <= workspace::KEEP_BYTES);
        let twice = br#"{"b":{"y":1,"x":1,"y":1},"a":2}"#;
        assert!(canonicalize(twice, NumberMode::Exact).is_err());
        let form = canonicalize(br#"{"b":1,"a":2}"#, NumberMode::Exact).unwrap();
        assert_eq!(&*form, br#"{"a":2,"b":1}"#);
    }

    #[test]
    fn two_texts_can_be_open_at_once() {
        let mut forms = Vec::new();
        canonicalize_into(br#"{"b":1,"a":2}"#, NumberMode::Exact, b"", |outer| {
            let inner = canonicalize(br#"{"d":1,"c":2}"#, NumberMode::Exact).unwrap();
            forms.push((outer.to_vec(), inner.into_owned()));
        })
        .unwrap();
        assert_eq!(
            forms,
            [(br#"{"a":2,"b":1}"#.to_vec(), br#"{"c":2,"d":1}"#.to_vec())]
        );
    }
}
