//! Whether bytes are UTF-8.

/// Where the first bytes are that are not UTF-8, as [`Utf8Error::valid_up_to`] tells it.
///
/// [`Utf8Error::valid_up_to`]: std::str::Utf8Error::valid_up_to
#[inline]
pub(crate) fn first_invalid(bytes: &[u8]) -> Option<usize> {
    if cfg!(idemp_small) {
        by_character(bytes)
    } else {
        let read = std::str::from_utf8(bytes);
        read.err().map(|error| error.valid_up_to())
    }
}

/// For pages: std's is five times what they download.
#[cfg_attr(idemp_small, inline(never))]
fn by_character(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(&first) = bytes.get(at) {
        let length = first.leading_ones().max(1) as usize;
        let kept = if length == 1 { 0xff } else { 0x7f >> length };
        let mut code = u32::from(first) & kept;
        let more = bytes.get(at + 1..at + length);
        for &byte in more.unwrap_or_default() {
            code = if byte & 0xc0 == 0x80 {
                code << 6 | u32::from(byte & 0x3f)
            } else {
                u32::MAX
            };
        }
        // The length of the code by itself refuses what is cut off, what is too long, and what
        // starts with a byte that only follows.
        if char::from_u32(code).map(char::len_utf8) != Some(length) || more.is_none() {
            return Some(at);
        }
        at += length;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn same(bytes: &[u8]) {
        let std = std::str::from_utf8(bytes)
            .err()
            .map(|error| error.valid_up_to());
        assert_eq!(by_character(bytes), std, "{bytes:02x?}");
    }

    #[test]
    fn every_pair_of_bytes_and_every_edge_of_longer_ones_is_told_as_std_tells_it() {
        let edges = [
            0, 0x20, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xe0, 0xff,
        ];
        for first in 0..=255 {
            for second in 0..=255 {
                same(&[first, second]);
                for third in edges {
                    same(&[first, second, third]);
                    for fourth in edges {
                        same(&[first, second, third, fourth, b'a']);
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn text_that_is_damaged_is_told_as_std_tells_it(text in ".*", at in any::<usize>(), byte in any::<u8>()) {
            let mut bytes = text.into_bytes();
            same(&bytes);
            let length = bytes.len().max(1);
            if let Some(place) = bytes.get_mut(at % length) {
                *place = byte;
            }
            same(&bytes);
        }
    }
}
