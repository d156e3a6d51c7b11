//! Looking at eight bytes at a time, in plain integers: one code for every target, no `unsafe`.

/// Every byte of a word set to `byte`.
const fn splat(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The eight bytes at `at`, the first one lowest, where there are as many. A page, which downloads
/// this, gets none, and so the half that goes byte by byte.
#[inline(always)]
pub(super) fn word(input: &[u8], at: usize) -> Option<u64> {
    // No text is as long as 2^32, and from there on no sum overflows: one check instead of two.
    let at = at as u32 as usize;
    if cfg!(idemp_small) {
        return None;
    }
    let bytes = input.get(at..at + 8)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// The number of bytes before the lowest mark that [`specials`] or [`non_digits`] set.
#[inline(always)]
pub(super) fn first(marks: u64) -> usize {
    (marks.trailing_zeros() / 8) as usize
}

/// The bytes of a word before the lowest of its marks, and zeros. There is a mark.
#[inline(always)]
pub(super) fn before_first(word: u64, marks: u64) -> u64 {
    let mark = marks & marks.wrapping_neg();
    word & (mark >> 7).wrapping_sub(1)
}

/// Marks `"`, `\` and control characters in bit 7 of their byte. The lowest mark is exact; a
/// borrow may set false ones above it.
#[inline(always)]
pub(super) fn specials(word: u64) -> u64 {
    // 0x02 takes `"` (0x22) to 0x20 and leaves what is below 0x20 there: one comparison for both.
    let quote_or_control = (word ^ splat(0x02)).wrapping_sub(splat(0x21));
    let backslash = (word ^ splat(b'\\')).wrapping_sub(splat(0x01));
    (quote_or_control | backslash) & !word & splat(0x80)
}

/// Marks what is not `0` to `9`. The lowest mark is exact.
#[inline(always)]
fn non_digits(word: u64) -> u64 {
    let value = word ^ splat(b'0');
    (((value & splat(0x7f)) + splat(0x76)) | value) & splat(0x80)
}

/// The first `"`, `\` or control character at or behind `at`, or the end.
#[cfg_attr(not(idemp_small), inline(always))]
pub(super) fn string_end(input: &[u8], mut at: usize) -> usize {
    let long = at + 32;
    while let Some(word) = word(input, at) {
        let marks = specials(word);
        if marks != 0 {
            return at + first(marks);
        }
        at += 8;
        if at == long {
            at = plain_blocks_end(input, at);
        }
    }
    string_end_by_byte(input, at)
}

/// Passes over whole blocks without `"`, `\` and control characters: long strings at the width of
/// the machine's vectors.
fn plain_blocks_end(input: &[u8], start: usize) -> usize {
    let special = |byte: &u8| (*byte < 0x20) | (*byte == b'"') | (*byte == b'\\');
    let blocks = input[start..].chunks_exact(32);
    let plain =
        blocks.take_while(|block| !block.iter().fold(false, |any, byte| any | special(byte)));
    start + 32 * plain.count()
}

/// What [`string_end`] does, for the last few bytes of the input.
#[cold]
fn string_end_by_byte(input: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = input.get(at) {
        if byte < 0x20 || byte == b'"' || byte == b'\\' {
            break;
        }
        at += 1;
    }
    at
}

/// The first byte at or behind `at` that is no digit, or the end.
#[cfg_attr(not(idemp_small), inline(always))]
pub(super) fn digits_end(input: &[u8], mut at: usize) -> usize {
    while let Some(word) = word(input, at) {
        let marks = non_digits(word);
        if marks != 0 {
            return at + first(marks);
        }
        at += 8;
    }
    digits_end_by_byte(input, at)
}

/// What [`digits_end`] does, for the last few bytes of the input.
#[cold]
fn digits_end_by_byte(input: &[u8], mut at: usize) -> usize {
    while input.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}

/// The first byte at or behind `at` that is no white space of JSON (RFC 8259, section 2), or the
/// end.
pub(super) fn white_end(input: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = input.get(at) {
        if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
            break;
        }
        at += 1;
        // Indentation comes in long runs.
        while let Some(word) = word(input, at) {
            let others = word ^ splat(b' ');
            if others != 0 {
                at += first(others);
                break;
            }
            at += 8;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_at_a_time_finds_what_a_byte_at_a_time_finds() {
        for byte in 0..=255u8 {
            // In the first word, and behind the blocks of a long string.
            for at in (0..8).chain(28..99) {
                for filler in [
                    b'a', b'9', b'0', b' ', 0x7f, 0x80, 0xff, b'#', b'!', b'[', b']',
                ] {
                    let mut text = [filler; 99];
                    text[at] = byte;
                    let text = &text[..if at < 8 { 17 } else { 99 }];
                    let by = |test: fn(u8) -> bool| {
                        text.iter().position(|&b| test(b)).unwrap_or(text.len())
                    };
                    let special = by(|b| b < 0x20 || b == b'"' || b == b'\\');
                    assert_eq!(string_end(text, 0), special, "{byte:#x} at {at}");
                    assert_eq!(digits_end(text, 0), by(|b| !b.is_ascii_digit()));
                    assert_eq!(white_end(text, 0), by(|b| !b" \n\r\t".contains(&b)));
                }
            }
        }
    }
}
