//! The canonical form for pages, which download this: numbers exact, written in the one pass that
//! reads.
//!
//! It is half the size of the parser and the writer that servers use, and slower, since each object
//! is written once more when it ends. A test holds both to the same answers, errors included.

use std::cmp::Ordering;

use super::string::{self, Escape};
use super::{CanonicalError, CanonicalErrorKind, MAX_BYTES, MAX_DEPTH};
use super::{number, scan};
use crate::utf8;

/// Appends the canonical form. After an error there may be something of it.
pub(super) fn append(input: &[u8], out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    let mut reader = Reader {
        input,
        at: 0,
        out,
        members: Vec::new(),
        error: CanonicalErrorKind::Syntax,
    };
    reader.whole().map_err(|Failed| CanonicalError {
        kind: reader.error,
        offset: reader.at,
    })
}

struct Reader<'a> {
    input: &'a [u8],
    /// The place that is read next; after an error, where it is.
    at: usize,
    out: &'a mut Vec<u8>,
    /// The members of the open objects, innermost last.
    members: Vec<Member>,
    error: CanonicalErrorKind,
}

#[derive(Clone, Copy)]
struct Member {
    /// Where its name starts in the input.
    at: usize,
    /// Where it lies in what was written of its object first.
    start: usize,
    end: usize,
}

/// The error is in the reader: results stay in registers.
struct Failed;

impl Reader<'_> {
    fn whole(&mut self) -> Result<(), Failed> {
        if self.input.len() > MAX_BYTES {
            return self.fail(CanonicalErrorKind::TooLong, MAX_BYTES);
        }
        if let Some(valid) = utf8::first_invalid(self.input) {
            return self.fail(CanonicalErrorKind::Utf8, valid);
        }
        self.value(0)?;
        self.past_white();
        if self.at < self.input.len() {
            return self.fail(CanonicalErrorKind::Trailing, self.at);
        }
        Ok(())
    }

    /// Reads the value that lies so deep, perhaps behind white space.
    fn value(&mut self, depth: usize) -> Result<(), Failed> {
        match self.past_white() {
            b'"' => self.string(),
            open @ (b'{' | b'[') => self.items(open, depth),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.unexpected(self.at),
        }
    }

    /// Reads an object or an array.
    fn items(&mut self, open: u8, depth: usize) -> Result<(), Failed> {
        if depth == MAX_DEPTH {
            return self.fail(CanonicalErrorKind::Depth, self.at);
        }
        let base = self.out.len();
        let members = self.members.len();
        let close = open + 2; // in ASCII both pairs of brackets are two apart
        let mut separator = open;
        loop {
            self.at += 1;
            self.out.push(separator);
            let byte = self.past_white();
            if separator == open && byte == close {
                break;
            }
            let (at, start) = (self.at, self.out.len() - base);
            if open == b'{' {
                if byte != b'"' {
                    return self.unexpected(at);
                }
                self.string()?;
                if self.past_white() != b':' {
                    return self.unexpected(self.at);
                }
                self.at += 1;
                self.out.push(b':');
            }
            self.value(depth + 1)?;
            if open == b'{' {
                let end = self.out.len() - base;
                self.members.push(Member { at, start, end });
            }
            separator = self.past_white();
            if separator != b',' {
                break;
            }
        }
        if self.byte() != close {
            return self.unexpected(self.at);
        }
        if self.members.len() > members {
            self.sort(base, members)?;
        }
        self.members.truncate(members);
        self.at += 1;
        self.out.push(close);
        Ok(())
    }

    /// Puts the members of an object in order, which starts at `base` and of which `first` is the
    /// first.
    fn sort(&mut self, base: usize, first: usize) -> Result<(), Failed> {
        let members = &mut self.members[first..];
        let unsorted = self.out[base..].to_vec();
        heap_sort(members, &unsorted);
        self.out.truncate(base);
        let mut repeated = usize::MAX;
        let mut last: Option<usize> = None;
        for member in members {
            let separator = match last {
                None => b'{',
                Some(last) => {
                    if compare(&unsorted, last, member.start).is_eq() {
                        repeated = repeated.min(member.at);
                    }
                    b','
                }
            };
            last = Some(member.start);
            self.out.push(separator);
            self.out
                .extend_from_slice(&unsorted[member.start..member.end]);
        }
        if repeated < usize::MAX {
            return self.fail(CanonicalErrorKind::Duplicate, repeated);
        }
        Ok(())
    }

    /// Reads the string that starts here.
    fn string(&mut self) -> Result<(), Failed> {
        let mut at = self.at + 1;
        self.out.push(b'"');
        loop {
            let end = scan::string_end(self.input, at);
            self.out.extend_from_slice(&self.input[at..end]);
            match self.input.get(end) {
                Some(b'"') => {
                    self.out.push(b'"');
                    self.at = end + 1;
                    return Ok(());
                }
                Some(b'\\') => match Escape::read(self.input, end) {
                    Ok(escape) => {
                        string::write(escape.char, self.out);
                        at = escape.end;
                    }
                    Err((kind, offset)) => return self.fail(kind, offset),
                },
                _ => return self.unexpected(end),
            }
        }
    }

    fn number(&mut self) -> Result<(), Failed> {
        let start = self.at;
        let negative = self.skip(b'-');
        let mut digits = Vec::new();
        let whole = self.at;
        self.digits(&mut digits)?;
        if digits[0] == b'0' && digits.len() > 1 {
            return self.unexpected(whole + 1);
        }
        // The place of the decimal point, behind so many digits.
        let mut point = digits.len() as i64;
        if self.skip(b'.') {
            self.digits(&mut digits)?;
        }
        if self.skip(b'e') || self.skip(b'E') {
            let mut exponent = Vec::new();
            if self.skip(b'-') {
                exponent.push(b'-');
            } else {
                self.skip(b'+');
            }
            self.digits(&mut exponent)?;
            point += number::saturating(&exponent);
        }
        let mut digits = &digits[..];
        point -= number::leave_leading_zeros(&mut digits);
        number::leave_trailing_zeros(&mut digits);
        if digits.is_empty() {
            self.out.push(b'0');
            return Ok(());
        }
        if (point - 1).abs() > number::MAX_EXPONENT {
            return self.fail(CanonicalErrorKind::NumberRange, start);
        }
        if negative {
            self.out.push(b'-');
        }
        // As `Number::toString` lays it out.
        let plain = (-5..=21).contains(&point);
        let whole = if plain { point } else { 1 };
        for at in (whole - 1).min(0)..whole.max(digits.len() as i64) {
            if at == whole {
                self.out.push(b'.');
            }
            self.out.push(*digits.get(at as usize).unwrap_or(&b'0'));
        }
        if !plain {
            self.out.push(b'e');
            self.out.push(if point > 0 { b'+' } else { b'-' });
            number::decimal((point - 1).unsigned_abs(), self.out);
        }
        Ok(())
    }

    /// Appends the digits that are here; there is at least one.
    fn digits(&mut self, digits: &mut Vec<u8>) -> Result<(), Failed> {
        let end = scan::digits_end(self.input, self.at);
        if end == self.at {
            return self.unexpected(end);
        }
        digits.extend_from_slice(&self.input[self.at..end]);
        self.at = end;
        Ok(())
    }

    /// Goes past this byte, where it is here.
    fn skip(&mut self, byte: u8) -> bool {
        let here = self.byte() == byte;
        self.at += usize::from(here);
        here
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Failed> {
        for &byte in word {
            if self.byte() != byte {
                return self.unexpected(self.at);
            }
            self.at += 1;
        }
        self.out.extend_from_slice(word);
        Ok(())
    }

    /// The byte here, or 0 at the end: JSON has no use for that byte.
    fn byte(&self) -> u8 {
        self.input.get(self.at).copied().unwrap_or(0)
    }

    /// Goes on to the first byte that is no white space, and returns it.
    #[inline(never)]
    fn past_white(&mut self) -> u8 {
        self.at = scan::white_end(self.input, self.at);
        self.byte()
    }

    /// Something does not belong at `at`, or is missing there.
    #[inline(never)]
    fn unexpected(&mut self, at: usize) -> Result<(), Failed> {
        let kind = if at < self.input.len() {
            CanonicalErrorKind::Syntax
        } else {
            CanonicalErrorKind::Eof
        };
        self.fail(kind, at)
    }

    fn fail(&mut self, kind: CanonicalErrorKind, at: usize) -> Result<(), Failed> {
        (self.error, self.at) = (kind, at);
        Err(Failed)
    }
}

/// Sorts members by name, and those of one name as they came: the sort of std alone is a tenth of
/// what a page would download.
fn heap_sort(members: &mut [Member], text: &[u8]) {
    let count = members.len();
    // First the heap grows from its end, then it shrinks by its largest.
    for round in (0..count + count / 2).rev() {
        let (mut parent, end) = match round.checked_sub(count) {
            Some(parent) => (parent, count),
            None => {
                members.swap(0, round);
                (0, round)
            }
        };
        loop {
            let mut largest = parent;
            for child in [2 * parent + 1, 2 * parent + 2] {
                if child < end && less(text, &members[largest], &members[child]) {
                    largest = child;
                }
            }
            if largest == parent {
                break;
            }
            members.swap(parent, largest);
            parent = largest;
        }
    }
}

#[inline(never)]
fn less(text: &[u8], left: &Member, right: &Member) -> bool {
    compare(text, left.start, right.start)
        .then(left.at.cmp(&right.at))
        .is_lt()
}

/// Compares two canonical strings, by the places of their quotes, as UTF-16 code units.
#[inline(never)]
fn compare(text: &[u8], left: usize, right: usize) -> Ordering {
    let (mut left, mut right) = (left + 1, right + 1);
    loop {
        let (l, r) = (unit(text, &mut left), unit(text, &mut right));
        if l != r || l == 0 {
            return l.cmp(&r);
        }
    }
}

/// The next byte of what a canonical string stands for, as a number that sorts like UTF-16: see
/// [`order`](super::order). 0 at the end of the string.
#[inline(never)]
fn unit(text: &[u8], at: &mut usize) -> u32 {
    match text[*at] {
        b'"' => 0,
        b'\\' => Escape::read(text, *at).map_or(0, |escape| {
            *at = escape.end;
            u32::from(escape.char) + 1
        }),
        byte => {
            *at += 1;
            let moved = if byte & 0xfe == 0xee { 0x10 } else { 0 };
            u32::from(byte) + moved + 1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::{NumberMode, in_two_passes};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_object_of_many_members_has_the_form_that_a_server_gives_it(
            mut names in proptest::collection::vec("[ab\u{1}\\\\\"\u{e9}\u{ffff}\u{10000}]{0,9}", 0..200),
            repeat in any::<bool>(),
        ) {
            if !repeat {
                let mut known = std::collections::HashSet::new();
                names.retain(|name| known.insert(name.clone()));
            }
            let members: Vec<String> = names
                .iter()
                .map(|name| format!("{}:1", serde_json::to_string(name).unwrap()))
                .collect();
            same(format!("{{{}}}", members.join(",")).as_bytes());
        }

        #[test]
        fn text_has_the_form_or_the_error_that_a_server_gives_it(text in json()) {
            same(text.as_bytes());
        }

        #[test]
        fn damaged_text_has_the_form_or_the_error_that_a_server_gives_it(
            text in json(), at in any::<usize>(), byte in any::<u8>(), insert in any::<bool>(),
        ) {
            let mut bytes = text.into_bytes();
            let at = at % bytes.len();
            if insert {
                bytes.insert(at, byte);
            } else {
                bytes[at] = byte;
            }
            same(&bytes);
            same(&bytes[..at]);
        }

        #[test]
        fn a_run_of_tokens_has_the_form_or_the_error_that_a_server_gives_it(
            tokens in proptest::collection::vec(token(), 0..12),
        ) {
            same(tokens.concat().as_bytes());
        }
    }

    #[test]
    fn the_deepest_nesting_and_one_more_are_told_as_a_server_tells_them() {
        for depth in [MAX_DEPTH, MAX_DEPTH + 1] {
            for (open, close) in [("[", "]"), ("{\"b\":1,\"a\":", "}")] {
                same(format!("{}1{}", open.repeat(depth), close.repeat(depth)).as_bytes());
                same(open.repeat(depth).as_bytes());
            }
        }
    }

    fn same(text: &[u8]) {
        let mut small = b"head".to_vec();
        let read = append(text, &mut small).map(|()| &small[4..]);
        let server = in_two_passes(text, NumberMode::Exact);
        assert_eq!(
            read,
            server.as_deref().map_err(|error| *error),
            "{:?}",
            String::from_utf8_lossy(text)
        );
    }

    /// Values that nest, with few names, so that some come twice, and white space.
    fn json() -> impl Strategy<Value = String> {
        let name = || {
            prop_oneof![
                Just(String::from("\"a\"")),
                "\"[ab\u{e9}\u{ffff}\u{10000}]{0,3}\"",
                Just(r#""\u0061""#.into())
            ]
        };
        let scalar = prop_oneof![
            name(),
            "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?",
            "\"(a|\\\\n|\\\\u00[0-9a-fA-F]{2}|\\\\ud83d\\\\ude00|\\\\/){0,4}\"",
            Just("true".into()),
            Just("null".into()),
        ];
        scalar.prop_recursive(4, 48, 6, move |inner| {
            let items = proptest::collection::vec(inner.clone(), 0..6);
            let members = proptest::collection::vec((name(), "[ \n]?", inner), 0..6);
            prop_oneof![
                items.prop_map(|items| format!("[{}]", items.join(", "))),
                members.prop_map(|members| {
                    let member = |(name, white, value)| format!("{name}{white}:{white}{value}");
                    let members: Vec<String> = members.into_iter().map(member).collect();
                    format!("{{{}}}", members.join(","))
                }),
            ]
        })
    }

    fn token() -> impl Strategy<Value = &'static str> {
        proptest::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"a\"",
            "\"b\"",
            "1",
            "-",
            "0",
            "01",
            ".5",
            "1e",
            "1e999",
            "1e2000000000",
            "true",
            "tru",
            "nul",
            "\"",
            "\\",
            "\\ud800",
            "\\u12",
            " ",
            "\u{0}",
            "\t",
        ])
    }
}
