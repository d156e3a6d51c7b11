//! Numbers: read by RFC 8259, section 6, and written by ECMAScript's `Number::toString`, which
//! RFC 8785, section 3.2.2.3, prescribes.
//!
//! [`NumberMode::Exact`] lays out the digits of the literal itself; no float is involved. The
//! other modes go through the nearest double, and take the digits that std finds for it.

use super::{CanonicalErrorKind, NumberMode, scan};

/// The largest exponent that is read, either way: that of the number in scientific notation.
pub(super) const MAX_EXPONENT: i64 = 1_000_000_000;

/// The longest whole part, in digits, that ECMAScript writes without an exponent.
const MAX_WHOLE: usize = 21;

/// The most significant digits that every double gives back as they were.
const SAFE_DIGITS: usize = 15;

/// What stands at a place where a number should.
pub(super) struct Literal {
    /// Where it ends.
    pub(super) end: usize,
    /// Whether it is known to be canonical as it stands. Where it is not, [`rewrite`] decides.
    pub(super) canonical: bool,
}

/// Reads the number at `start`, which holds a digit or a minus sign.
///
/// # Errors
/// The offset of the byte that does not belong, which is the end of the input where it is cut off.
#[inline(always)]
pub(super) fn read(input: &[u8], start: usize, mode: NumberMode) -> Result<Literal, usize> {
    let negative = input[start] == b'-';
    let whole = start + usize::from(negative);
    let whole_end = scan::digits_end(input, whole);
    let whole_len = whole_end - whole;
    if whole_len == 0 {
        return Err(whole);
    }
    let zero = input[whole] == b'0';
    if zero && whole_len > 1 {
        return Err(whole + 1);
    }
    let max_whole = if mode == NumberMode::Exact {
        MAX_WHOLE
    } else {
        SAFE_DIGITS
    };
    match input.get(whole_end) {
        Some(b'.') => {
            let part = whole_end + 1;
            let part_end = scan::digits_end(input, part);
            if part_end == part {
                return Err(part);
            }
            if let Some(b'e' | b'E') = input.get(part_end) {
                return exponent(input, part_end + 1);
            }
            // Below a millionth ECMAScript writes an exponent.
            let tiny = zero && input[part..part_end].starts_with(b"000000");
            let digits = whole_len + (part_end - part);
            let fits = mode == NumberMode::Exact || digits <= SAFE_DIGITS;
            Ok(Literal {
                end: part_end,
                canonical: input[part_end - 1] != b'0' && !tiny && whole_len <= MAX_WHOLE && fits,
            })
        }
        Some(b'e' | b'E') => exponent(input, whole_end + 1),
        _ => Ok(Literal {
            end: whole_end,
            canonical: whole_len <= max_whole && !(negative && zero),
        }),
    }
}

/// Appends the canonical form of a literal that [`read`] has accepted.
///
/// # Errors
/// [`CanonicalErrorKind::NumberRange`] for an exponent beyond [`MAX_EXPONENT`] and, where a double
/// is asked for, for a number beyond the largest one; [`CanonicalErrorKind::InexactInteger`] in
/// [`NumberMode::Rfc8785Strict`].
pub(super) fn rewrite<const EXACT: bool>(
    literal: &[u8],
    mode: NumberMode,
    text: &mut Vec<u8>,
) -> Result<(), CanonicalErrorKind> {
    let Some(decimal) = Decimal::of(literal) else {
        text.push(b'0');
        return Ok(());
    };
    if (decimal.point - 1).abs() > MAX_EXPONENT {
        return Err(CanonicalErrorKind::NumberRange);
    }
    let start = text.len();
    decimal.write(text);
    let safe = decimal.len <= SAFE_DIGITS && (-300..=300).contains(&decimal.point);
    if EXACT || safe {
        return Ok(());
    }
    let whole = decimal.point >= decimal.len as i64;
    let exact = text.len();
    write_double(start, text)?;
    if mode == NumberMode::Rfc8785Strict && whole && text[start..exact] != text[exact..] {
        return Err(CanonicalErrorKind::InexactInteger);
    }
    text.drain(start..exact);
    Ok(())
}

/// Reads the exponent at `at`, behind the `e`.
fn exponent(input: &[u8], at: usize) -> Result<Literal, usize> {
    let digits = at + usize::from(matches!(input.get(at), Some(b'+' | b'-')));
    let end = scan::digits_end(input, digits);
    if end == digits {
        return Err(end);
    }
    Ok(Literal {
        end,
        canonical: false,
    })
}

/// A number that is not zero, as the digits `head` then `tail`, which neither start nor end with
/// a zero, and `point`, the place of the decimal point relative to the first of them.
struct Decimal<'a> {
    negative: bool,
    head: &'a [u8],
    tail: &'a [u8],
    len: usize,
    point: i64,
}

impl<'a> Decimal<'a> {
    /// Takes a literal apart; nothing where it is zero.
    fn of(literal: &'a [u8]) -> Option<Self> {
        let (negative, rest) = match literal {
            [b'-', rest @ ..] => (true, rest),
            rest => (false, rest),
        };
        let (mantissa, exponent) = cut(rest, b'e');
        let exponent = saturating(exponent);
        let (mut head, mut tail) = cut(mantissa, b'.');
        // An offset in memory, so the sum is far from overflow: see `saturating`.
        let mut point = head.len() as i64 + exponent;
        point -= leave_leading_zeros(&mut head);
        if head.is_empty() {
            point -= leave_leading_zeros(&mut tail);
        }
        leave_trailing_zeros(&mut tail);
        if tail.is_empty() {
            leave_trailing_zeros(&mut head);
        }
        let len = head.len() + tail.len();
        (len > 0).then_some(Self {
            negative,
            head,
            tail,
            len,
            point,
        })
    }

    /// Appends the number as `Number::toString` lays it out.
    fn write(&self, text: &mut Vec<u8>) {
        if self.negative {
            text.push(b'-');
        }
        match self.point {
            point @ 1..=21 => {
                let point = point as usize;
                if self.len <= point {
                    self.digits(0..self.len, text);
                    text.resize(text.len() + point - self.len, b'0');
                } else {
                    self.digits(0..point, text);
                    text.push(b'.');
                    self.digits(point..self.len, text);
                }
            }
            point @ -5..=0 => {
                text.extend_from_slice(&b"0.00000"[..2 + point.unsigned_abs() as usize]);
                self.digits(0..self.len, text);
            }
            point => {
                self.digits(0..1, text);
                if self.len > 1 {
                    text.push(b'.');
                    self.digits(1..self.len, text);
                }
                text.extend_from_slice(if point > 0 { b"e+" } else { b"e-" });
                decimal((point - 1).unsigned_abs(), text);
            }
        }
    }

    /// Appends some of the digits.
    fn digits(&self, range: std::ops::Range<usize>, text: &mut Vec<u8>) {
        let cut = self.head.len();
        text.extend_from_slice(&self.head[range.start.min(cut)..range.end.min(cut)]);
        let behind = |at: usize| at.saturating_sub(cut);
        text.extend_from_slice(&self.tail[behind(range.start)..behind(range.end)]);
    }
}

/// What lies before a small letter or a sign, in lower or upper case, and what lies behind it.
fn cut(text: &[u8], letter: u8) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| byte | 0x20 == letter) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &[]),
    }
}

/// How many there were.
pub(super) fn leave_leading_zeros(digits: &mut &[u8]) -> i64 {
    let all = digits.len();
    while let [b'0', rest @ ..] = digits {
        *digits = rest;
    }
    (all - digits.len()) as i64
}

pub(super) fn leave_trailing_zeros(digits: &mut &[u8]) {
    while let [rest @ .., b'0'] = digits {
        *digits = rest;
    }
}

/// Appends the shortest form of the double nearest to the number that starts at `start`.
fn write_double(start: usize, text: &mut Vec<u8>) -> Result<(), CanonicalErrorKind> {
    let value: f64 = std::str::from_utf8(&text[start..])
        .ok()
        .and_then(|exact| exact.parse().ok())
        .ok_or(CanonicalErrorKind::NumberRange)?;
    if value.is_infinite() {
        return Err(CanonicalErrorKind::NumberRange);
    }
    let shortest = shortest(value);
    match Decimal::of(shortest.as_bytes()) {
        Some(decimal) => decimal.write(text),
        None => text.push(b'0'),
    }
    Ok(())
}

/// The shortest digits that read back as `value`, of those the closest to it, and of two that are
/// as close the even ones: steps 5 and 6 of `Number::toString`.
fn shortest(value: f64) -> String {
    let shortest = format!("{value:e}");
    let digits = shortest.bytes().take_while(|&b| b != b'e');
    let digits = digits.filter(u8::is_ascii_digit).count();
    // std rounds a tie up where it looks for the shortest digits, and to even where it is told how
    // many there are. Doubles that are a tie at fewer digits do not exist.
    if digits > SAFE_DIGITS {
        let even = format!("{value:.*e}", digits - 1);
        if even.parse() == Ok(value) {
            return even;
        }
    }
    shortest
}

/// An exponent, so large where it is beyond all use that no mantissa in memory brings it back.
pub(super) fn saturating(digits: &[u8]) -> i64 {
    const FAR: i64 = 1 << 59;
    let (negative, digits) = match digits {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    let value = digits.iter().fold(0i64, |value, digit| {
        (value * 10 + i64::from(digit - b'0')).min(FAR)
    });
    if negative { -value } else { value }
}

/// Appends a whole number in digits.
pub(super) fn decimal(number: u64, text: &mut Vec<u8>) {
    if number > 9 {
        decimal(number / 10, text);
    }
    text.push(b'0' + (number % 10) as u8);
}
