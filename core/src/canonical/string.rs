//! Strings: escapes read by RFC 8259, section 7, and written by RFC 8785, section 3.2.2.2.

use super::CanonicalErrorKind::{self, Eof, LoneSurrogate, Syntax};
use super::scan;

/// A string that holds at least one escape.
pub(super) struct Escaped {
    /// Where its closing quote is.
    pub(super) close: usize,
    /// Whether it is canonical as it stands. If not, its canonical form was appended.
    pub(super) canonical: bool,
}

/// Reads the string whose first byte behind the quote is at `start` and whose first backslash is
/// at `at`. Where it is not canonical, appends what belongs between its quotes to `text`.
pub(super) fn read(
    input: &[u8],
    start: usize,
    mut at: usize,
    text: &mut Vec<u8>,
) -> Result<Escaped, (CanonicalErrorKind, usize)> {
    let mut canonical = true;
    loop {
        match input.get(at) {
            Some(b'"') => {
                return Ok(Escaped {
                    close: at,
                    canonical,
                });
            }
            Some(b'\\') => {
                let escape = Escape::read(input, at)?;
                if canonical && !escape.is_canonical(&input[at..escape.end]) {
                    canonical = false;
                    text.extend_from_slice(&input[start..at]);
                }
                if !canonical {
                    write(escape.char, text);
                }
                at = escape.end;
            }
            Some(_) => return Err((Syntax, at)),
            None => return Err((Eof, at)),
        }
        let end = scan::string_end(input, at);
        if !canonical {
            text.extend_from_slice(&input[at..end]);
        }
        at = end;
    }
}

/// Appends what the inside of a string that [`read`] has accepted stands for.
pub(super) fn decode(inside: &[u8], text: &mut Vec<u8>) {
    let mut at = 0;
    while at < inside.len() {
        let end = scan::string_end(inside, at);
        text.extend_from_slice(&inside[at..end]);
        let Ok(escape) = Escape::read(inside, end) else {
            break;
        };
        push(escape.char, text);
        at = escape.end;
    }
}

/// Appends a character as it stands in a canonical string.
pub(super) fn write(char: char, text: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match char {
        '"' => text.extend_from_slice(b"\\\""),
        '\\' => text.extend_from_slice(b"\\\\"),
        '\u{8}' => text.extend_from_slice(b"\\b"),
        '\t' => text.extend_from_slice(b"\\t"),
        '\n' => text.extend_from_slice(b"\\n"),
        '\u{c}' => text.extend_from_slice(b"\\f"),
        '\r' => text.extend_from_slice(b"\\r"),
        '\0'..'\x20' => {
            let code = char as usize;
            text.extend_from_slice(b"\\u00");
            text.extend_from_slice(&[HEX[code >> 4], HEX[code & 15]]);
        }
        char => push(char, text),
    }
}

fn push(char: char, text: &mut Vec<u8>) {
    text.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
}

/// An escape sequence, or two that are one character.
pub(super) struct Escape {
    pub(super) char: char,
    pub(super) end: usize,
}

impl Escape {
    /// Reads the escape whose backslash is at `at`, if there is one there.
    pub(super) fn read(input: &[u8], at: usize) -> Result<Self, (CanonicalErrorKind, usize)> {
        if input.get(at) != Some(&b'\\') {
            return Err((Syntax, at));
        }
        let char = match input.get(at + 1) {
            Some(&same @ (b'"' | b'\\' | b'/')) => char::from(same),
            Some(b'b') => '\u{8}',
            Some(b't') => '\t',
            Some(b'n') => '\n',
            Some(b'f') => '\u{c}',
            Some(b'r') => '\r',
            Some(b'u') => return Self::unicode(input, at),
            Some(_) => return Err((Syntax, at + 1)),
            None => return Err((Eof, at + 1)),
        };
        Ok(Self { char, end: at + 2 })
    }

    fn unicode(input: &[u8], at: usize) -> Result<Self, (CanonicalErrorKind, usize)> {
        let first = hex(input, at + 2)?;
        if let Some(char) = char::from_u32(first) {
            return Ok(Self { char, end: at + 6 });
        }
        // A surrogate. Only a high one before a low one is a character.
        if first < 0xdc00 && input.get(at + 6..at + 8) == Some(b"\\u") {
            let second = hex(input, at + 8)?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                if let Some(char) = char::from_u32(code) {
                    return Ok(Self { char, end: at + 12 });
                }
            }
        }
        Err((LoneSurrogate, at))
    }

    /// Whether `written`, from which it was read, is how RFC 8785 writes it.
    fn is_canonical(&self, written: &[u8]) -> bool {
        match written {
            [_, b'u', digits @ ..] => {
                self.char < ' '
                    && !matches!(self.char, '\u{8}' | '\t' | '\n' | '\u{c}' | '\r')
                    && !digits.iter().any(u8::is_ascii_uppercase)
            }
            [_, short] => *short != b'/',
            _ => false,
        }
    }
}

fn hex(input: &[u8], at: usize) -> Result<u32, (CanonicalErrorKind, usize)> {
    let mut code = 0;
    for at in at..at + 4 {
        let digit = match input.get(at) {
            Some(&digit) => char::from(digit).to_digit(16).ok_or((Syntax, at))?,
            None => return Err((Eof, at)),
        };
        code = code << 4 | digit;
    }
    Ok(code)
}
