//! Tokens (RFC 9110, section 5.6.2): names of headers, methods, media types.

use std::borrow::Cow;

/// Whether `name` is a token.
pub(crate) fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(is_tchar)
}

/// A table, since every name of a stored response is held to it whenever that is read.
pub(super) fn is_tchar(c: u8) -> bool {
    const TCHARS: [bool; 256] = {
        let mut tchars = [false; 256];
        let (others, mut at) = (b"!#$%&'*+-.^_`|~", 0);
        while at < others.len() {
            tchars[others[at] as usize] = true;
            at += 1;
        }
        let mut c = 0;
        while c < 128 {
            tchars[c as usize] |= (c as u8).is_ascii_alphanumeric();
            c += 1;
        }
        tchars
    };
    TCHARS[usize::from(c)]
}

/// The name in lower case.
pub(crate) fn lower_case(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|c| c.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_letters_digits_and_fifteen_signs() {
        let allowed = (0..=255u8).filter(|&c| is_tchar(c));
        let signs: Vec<u8> = allowed.filter(|c| !c.is_ascii_alphanumeric()).collect();
        assert_eq!(signs, b"!#$%&'*+-.^_`|~");
        assert!(
            (b'0'..=b'9')
                .chain(b'A'..=b'Z')
                .chain(b'a'..=b'z')
                .all(is_tchar)
        );
        assert!(is_token("x") && !is_token("") && !is_token("a b"));
    }
}
