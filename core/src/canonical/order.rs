//! The order of member names: by UTF-16 code units (RFC 8785, section 3.2.3), read off UTF-8.
//!
//! UTF-8 bytes sort like code points, and UTF-16 differs from that in one place: surrogates
//! (U+10000 and up, first byte 0xF0 to 0xF4) come before U+E000 to U+FFFF (first byte 0xEE and
//! 0xEF). Adding 0x10 to those two bytes, which are never anything but first bytes, mends it.

use std::cmp::Ordering;

use super::scan;

/// The first eight bytes of a name as a number that compares as the names do, padded with zeros.
/// Names with the same prefix are told apart by [`compare`].
#[inline(never)]
pub(super) fn prefix(name: &[u8]) -> u64 {
    match name.first_chunk::<8>() {
        Some(bytes) => utf16_order(u64::from_be_bytes(*bytes)),
        None => {
            let mut bytes = [0; 8];
            bytes[..name.len()].copy_from_slice(name);
            utf16_order(u64::from_be_bytes(bytes))
        }
    }
}

/// [`prefix`] of a name that starts with the bytes of `word`, lowest first, with zeros behind it.
#[inline(always)]
pub(super) fn prefix_in_word(word: u64) -> u64 {
    utf16_order(word.swap_bytes())
}

/// Compares two names as UTF-16 code units; a proper prefix comes first.
pub(super) fn compare(left: &[u8], right: &[u8]) -> Ordering {
    let common = left.len().min(right.len());
    let mut at = 0;
    while at < common {
        #[cfg(test)]
        COMPARED.set(COMPARED.get() + 1);
        let (l, r) = match (scan::word(left, at), scan::word(right, at)) {
            (Some(l), Some(r)) => (l.swap_bytes(), r.swap_bytes()),
            _ => break,
        };
        if l != r {
            return utf16_order(l).cmp(&utf16_order(r));
        }
        at += 8;
    }
    for (&l, &r) in left[at.min(common)..common]
        .iter()
        .zip(&right[at.min(common)..common])
    {
        if l != r {
            let unit = |byte: u8| {
                if byte & 0xfe == 0xee {
                    byte + 0x10
                } else {
                    byte
                }
            };
            return unit(l).cmp(&unit(r));
        }
    }
    left.len().cmp(&right.len())
}

/// Adds 0x10 to every byte that is 0xEE or 0xEF.
#[inline(always)]
fn utf16_order(word: u64) -> u64 {
    if word & HIGH == 0 {
        return word;
    }
    utf16_order_beyond_ascii(word)
}

#[cold]
fn utf16_order_beyond_ascii(word: u64) -> u64 {
    let other = (word & (0xfe * ONES)) ^ (0xee * ONES);
    let equal = !(((other & !HIGH) + !HIGH) | other) & HIGH;
    word + (equal >> 3)
}

const ONES: u64 = u64::from_le_bytes([0x01; 8]);
const HIGH: u64 = 0x80 * ONES;

#[cfg(test)]
thread_local! {
    /// How many words were compared, to show that it is not too many.
    pub(super) static COMPARED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_order_of_utf_16() {
        let chars = [
            '\0', 'a', 'b', '\u{7f}', '\u{80}', '\u{7ff}', '\u{800}', '\u{d7ff}',
        ];
        let high = [
            '\u{e000}',
            '\u{f8ff}',
            '\u{ffff}',
            '\u{10000}',
            '\u{10ffff}',
        ];
        let chars: Vec<char> = chars.into_iter().chain(high).collect();
        let mut names = vec![String::new()];
        for start in ["", "a", "aaaaaaa", "\u{ffff}\u{ffff}", "aaaaaaaaaaaaaaa"] {
            for &one in &chars {
                names.push(format!("{start}{one}"));
                for &two in &chars {
                    names.push(format!("{start}{one}{two}"));
                }
            }
        }
        for left in &names {
            for right in &names {
                let expected = left.encode_utf16().cmp(right.encode_utf16());
                let (l, r) = (left.as_bytes(), right.as_bytes());
                assert_eq!(compare(l, r), expected, "{left:?} {right:?}");
                let by_prefix = prefix(l).cmp(&prefix(r));
                assert!(
                    by_prefix == expected || by_prefix.is_eq(),
                    "{left:?} {right:?}"
                );
            }
        }
    }
}
