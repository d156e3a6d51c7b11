//! What an Idempotency-Key needs of RFC 9651: a String Item, and the parameters behind it.

use std::borrow::Cow;

use super::token::is_tchar;

/// The text of a String Item with its escapes resolved. Parameters are parsed and dropped.
///
/// `input` is trimmed, starts with `"` and holds bytes from 0x20 to 0x7E only.
pub(super) fn string_item(input: &str) -> Result<Cow<'_, str>, ItemError> {
    let mut input = input;
    let text = string(&mut input)?;
    parameters(&mut input).ok_or(ItemError::Malformed)?;
    match input.trim_start_matches(' ').as_bytes().first() {
        None => Ok(text),
        Some(b',') => Err(ItemError::List),
        Some(_) => Err(ItemError::Malformed),
    }
}

/// Why the input is not one String Item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ItemError {
    /// The closing quote is missing.
    Unclosed,
    /// A comma follows: the value is a list.
    List,
    /// Any other breach of the grammar.
    Malformed,
}

/// RFC 9651, section 4.2.5. Borrows where there is nothing to unescape.
fn string<'a>(input: &mut &'a str) -> Result<Cow<'a, str>, ItemError> {
    let body = input.strip_prefix('"').ok_or(ItemError::Malformed)?;
    let mut text = Cow::Borrowed("");
    let mut rest = body;
    loop {
        let at = rest.find(['"', '\\']).ok_or(ItemError::Unclosed)?;
        text += &rest[..at];
        let quote = rest.as_bytes()[at] == b'"';
        rest = &rest[at + 1..];
        if quote {
            *input = rest;
            return Ok(text);
        }
        match rest.as_bytes().first() {
            Some(b'"' | b'\\') => text += &rest[..1],
            Some(_) => return Err(ItemError::Malformed),
            None => return Err(ItemError::Unclosed),
        }
        rest = &rest[1..];
    }
}

/// RFC 9651, section 4.2.3.2.
fn parameters(input: &mut &str) -> Option<()> {
    while let Some(rest) = input.strip_prefix(';') {
        *input = rest.trim_start_matches(' ');
        if !matches!(input.as_bytes().first()?, b'a'..=b'z' | b'*') {
            return None;
        }
        take(
            input,
            |c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'*'),
        );
        if let Some(rest) = input.strip_prefix('=') {
            *input = rest;
            bare_item(input)?;
        }
    }
    Some(())
}

/// RFC 9651, section 4.2.3.1: the value of a parameter, checked and dropped.
fn bare_item(input: &mut &str) -> Option<()> {
    match input.as_bytes().first()? {
        b'"' => string(input).ok().map(drop),
        b'-' | b'0'..=b'9' => number(input).map(drop),
        b'*' | b'a'..=b'z' | b'A'..=b'Z' => {
            take(input, |c| is_tchar(c) || matches!(c, b':' | b'/'));
            Some(())
        }
        b':' => byte_sequence(input),
        b'?' => {
            *input = input.strip_prefix("?0").or(input.strip_prefix("?1"))?;
            Some(())
        }
        b'@' => {
            *input = &input[1..];
            (number(input)? == Number::Integer).then_some(())
        }
        b'%' => display_string(input),
        _ => None,
    }
}

#[derive(PartialEq)]
enum Number {
    Integer,
    Decimal,
}

/// RFC 9651, section 4.2.4: 15 digits, or 12 and a fraction of 1 to 3.
fn number(input: &mut &str) -> Option<Number> {
    *input = input.strip_prefix('-').unwrap_or(input);
    let whole = take(input, |c| c.is_ascii_digit()).len();
    let Some(rest) = input.strip_prefix('.') else {
        return (1..=15).contains(&whole).then_some(Number::Integer);
    };
    *input = rest;
    let fraction = take(input, |c| c.is_ascii_digit()).len();
    ((1..=12).contains(&whole) && (1..=3).contains(&fraction)).then_some(Number::Decimal)
}

/// RFC 9651, section 4.2.7. Missing padding is forgiven, as the section asks.
fn byte_sequence(input: &mut &str) -> Option<()> {
    let (base64, rest) = input.strip_prefix(':')?.split_once(':')?;
    *input = rest;
    let digits = base64.trim_end_matches('=');
    let padding = base64.len() - digits.len();
    let valid = digits
        .bytes()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/'))
        && digits.len() % 4 != 1
        && (padding == 0 || (digits.len() + padding) % 4 == 0 && padding <= 2);
    valid.then_some(())
}

/// RFC 9651, section 4.2.10: percent-encoded UTF-8, in lower-case hex.
fn display_string(input: &mut &str) -> Option<()> {
    let (encoded, rest) = input.strip_prefix("%\"")?.split_once('"')?;
    *input = rest;
    let digit =
        |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f').then_some(char::from(c).to_digit(16)?);
    let mut text = Vec::with_capacity(encoded.len());
    let mut bytes = encoded.bytes();
    while let Some(byte) = bytes.next() {
        text.push(match byte {
            b'%' => (digit(bytes.next()?)? * 16 + digit(bytes.next()?)?) as u8,
            _ => byte,
        });
    }
    std::str::from_utf8(&text).ok().map(drop)
}

/// Takes the leading bytes that `wanted` accepts; it accepts ASCII only.
fn take<'a>(input: &mut &'a str, wanted: impl Fn(u8) -> bool) -> &'a str {
    let end = input.bytes().position(|c| !wanted(c));
    let (taken, rest) = input.split_at(end.unwrap_or(input.len()));
    *input = rest;
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(value: &str) -> Result<String, ItemError> {
        string_item(&format!("\"k\";p={value}")).map(Cow::into_owned)
    }

    #[test]
    fn parameters_of_every_type_are_read_and_dropped() {
        for value in [
            "1",
            "-0",
            "999999999999999",
            "-999999999999999",
            "1.5",
            "123456789012.123",
            "tok:en/*",
            "*",
            "A",
            "\"a,b;c\"",
            "\"\\\"\\\\\"",
            "\"\"",
            "?0",
            "?1",
            "::",
            ":YQ==:",
            ":YQ:",
            ":YWI=:",
            ":YWJj:",
            ":+/+/:",
            "@0",
            "@-1659578233",
            "%\"\"",
            "%\"f%c3%bc,\"",
        ] {
            assert_eq!(parameter(value).as_deref(), Ok("k"), "{value}");
        }
        for item in [
            "\"k\";a",
            "\"k\";*a-_.9",
            "\"k\";  a;b=1",
            "\"k\";a;a",
            "\"k\"  ",
        ] {
            assert_eq!(string_item(item).as_deref(), Ok("k"), "{item}");
        }
    }

    #[test]
    fn parameters_outside_the_grammar_are_refused() {
        for value in [
            "",
            "-",
            "--1",
            "+1",
            "1000000000000000",
            "1.",
            ".1",
            "1.1234",
            "1234567890123.1",
            "1..2",
            "\"a",
            "\"\\a\"",
            "?2",
            "?",
            "?11",
            ":YQ",
            ":Y:",
            ":YQ=Q:",
            ":=:",
            ":YQ=:",
            ":Y===:",
            ":====:",
            ":Y Q:",
            "@",
            "@1.5",
            "@a",
            "%",
            "%a",
            "%\"a",
            "%\"%C3\"",
            "%\"%c\"",
            "%\"%ff\"",
            "(a)",
            "a b",
            "=1",
            "{",
            "a@b",
        ] {
            assert_eq!(parameter(value), Err(ItemError::Malformed), "{value}");
        }
        for item in [
            "\"k\";",
            "\"k\"; ",
            "\"k\";A",
            "\"k\";1",
            "\"k\" ;a",
            "\"k\";a ;b",
            "\"k\";;a",
            "\"k\"a",
        ] {
            assert_eq!(string_item(item), Err(ItemError::Malformed), "{item}");
        }
    }

    #[test]
    fn a_comma_after_the_item_makes_it_a_list() {
        for item in ["\"k\",", "\"k\", \"l\"", "\"k\" ,\"l\"", "\"k\";a=1,\"l\""] {
            assert_eq!(string_item(item), Err(ItemError::List), "{item}");
        }
    }

    #[test]
    fn only_quote_and_backslash_are_escaped() {
        assert_eq!(string_item(r#""a\"b\\c""#).as_deref(), Ok(r#"a"b\c"#));
        assert_eq!(string_item(r#""a\b""#), Err(ItemError::Malformed));
        for open in [r#"""#, r#""abc"#, r#""abc\""#, r#""abc\"#] {
            assert_eq!(string_item(open), Err(ItemError::Unclosed), "{open}");
        }
    }
}
