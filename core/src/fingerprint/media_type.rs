//! Content types (RFC 9110, section 8.3.1), so that two spellings of one are one.

use std::borrow::Cow;

use crate::http::token::{is_token, lower_case};

/// A name and a value.
type Parameter = (String, String);

/// The media type in lower case, and its parameters: the name in lower case, the value without
/// quotes, that of `charset` in lower case. Nothing where the text is malformed.
pub(super) fn parse(text: &str) -> Option<(Cow<'_, str>, Vec<Parameter>)> {
    let (media_type, mut rest) = match text.split_once(';') {
        Some((media_type, rest)) => (trim(media_type), Some(rest)),
        None => (trim(text), None),
    };
    let (main, sub) = media_type.split_once('/')?;
    if !is_token(main) || !is_token(sub) {
        return None;
    }
    let mut parameters = Vec::new();
    while let Some(text) = rest {
        let text = trim(text);
        if text.is_empty() || text.starts_with(';') {
            // An empty parameter is allowed, and says nothing.
            rest = text.strip_prefix(';');
            continue;
        }
        let (name, behind) = text.split_once('=')?;
        if !is_token(name) {
            return None;
        }
        let (mut value, behind) = match behind.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = behind.find(';').unwrap_or(behind.len());
                let value = trim(&behind[..end]);
                if !is_token(value) {
                    return None;
                }
                (value.to_owned(), &behind[end..])
            }
        };
        let name = name.to_ascii_lowercase();
        if name == "charset" {
            value.make_ascii_lowercase();
        }
        parameters.push((name, value));
        rest = match trim(behind) {
            "" => None,
            behind => Some(behind.strip_prefix(';')?),
        };
    }
    Some((lower_case(media_type), parameters))
}

/// The value of a quoted string whose opening quote is read, and what lies behind it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            char => value.push(char),
        }
    }
    None
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_content_type_are_one() {
        let expected = parse("application/json; charset=utf-8; v=A b").is_none();
        assert!(expected, "a space needs quotes");
        let expected = parse("application/json; charset=utf-8; v=A");
        assert!(expected.is_some());
        for same in [
            "Application/JSON;Charset=UTF-8;V=A",
            "application/json ;; charset=\"utf-8\" ; v=\"A\";",
            "application/json;charset=\"ut\\f-8\";\tv=A ",
        ] {
            assert_eq!(parse(same), expected, "{same}");
        }
        assert_ne!(parse("application/json; charset=utf-8; v=a"), expected);
    }

    #[test]
    fn a_malformed_content_type_is_no_content_type() {
        for text in [
            "",
            "json",
            "/",
            "a/b; c",
            "a/b; c=",
            "a/b; c=\"d",
            "a/b; c=\"d\" e",
            "a/b c",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
