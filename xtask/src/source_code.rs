//! Reading Rust without a compiler: which paths a source names.

/// Every path outside comments, literals and `#[cfg(test)]` modules, with its line; trees spelled
/// out: `std::{fs, time::Instant}` is two. A lone name, a keyword too, is a path of one segment.
pub(crate) fn paths(source: &str) -> Vec<(usize, Vec<String>)> {
    let tokens = tokens(&without_tests(&code_only(source)));
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].is_name() {
            at = path(&tokens, at, &[], &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// Reads the path at `at` below a prefix, and hands back where it ends.
fn path(
    tokens: &[Token],
    mut at: usize,
    prefix: &[String],
    found: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let line = tokens[at].line;
    let mut segments = prefix.to_vec();
    segments.push(tokens[at].text.clone());
    at += 1;
    while tokens.get(at).is_some_and(|token| token.text == "::") {
        match tokens.get(at + 1) {
            Some(next) if next.is_name() => {
                segments.push(next.text.clone());
                at += 2;
            }
            Some(next) if next.text == "{" => {
                at += 2;
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    at = if tokens[at].text == "as" {
                        // The name that follows is a new one, not a part of the tree.
                        at + 2
                    } else if tokens[at].is_name() {
                        path(tokens, at, &segments, found)
                    } else {
                        at + 1
                    };
                }
                return at + 1;
            }
            _ => break,
        }
    }
    found.push((line, segments));
    at
}

struct Token {
    line: usize,
    text: String,
}

impl Token {
    fn is_name(&self) -> bool {
        self.text
            .starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

fn tokens(code: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (number, text) in code.lines().enumerate() {
        let line = number + 1;
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = if first.is_alphanumeric() || first == '_' {
                rest.find(|c: char| !(c.is_alphanumeric() || c == '_'))
                    .unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            tokens.push(Token {
                line,
                text: rest[..length].to_string(),
            });
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

/// The source with comments and the insides of literals blanked, line by line the same.
fn code_only(source: &str) -> String {
    let text: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < text.len() {
        let end = match text[at] {
            '/' if text.get(at + 1) == Some(&'/') => end_of_line(&text, at),
            '/' if text.get(at + 1) == Some(&'*') => end_of_block_comment(&text, at),
            '"' => end_of_string(&text, at),
            'r' if !continues_a_word(&text, at) => end_of_raw_string(&text, at),
            '\'' => end_of_character(&text, at),
            _ => at,
        };
        if end == at {
            code.push(text[at]);
            at += 1;
        } else {
            code.extend(
                text[at..end]
                    .iter()
                    .map(|c| if *c == '\n' { '\n' } else { ' ' }),
            );
            at = end;
        }
    }
    code
}

fn end_of_line(text: &[char], at: usize) -> usize {
    text[at..]
        .iter()
        .position(|c| *c == '\n')
        .map_or(text.len(), |length| at + length)
}

fn end_of_block_comment(text: &[char], at: usize) -> usize {
    let mut depth = 0;
    let mut end = at;
    while end < text.len() {
        match (text[end], text.get(end + 1)) {
            ('/', Some('*')) => (depth, end) = (depth + 1, end + 2),
            ('*', Some('/')) => (depth, end) = (depth - 1, end + 2),
            _ => end += 1,
        }
        if depth == 0 {
            return end;
        }
    }
    text.len()
}

fn end_of_string(text: &[char], at: usize) -> usize {
    let mut end = at + 1;
    while end < text.len() {
        match text[end] {
            '\\' => end += 2,
            '"' => return end + 1,
            _ => end += 1,
        }
    }
    text.len()
}

/// `r"…"`, `r#"…"#`; `at` itself for a name that begins with an r, `r#type` too.
fn end_of_raw_string(text: &[char], at: usize) -> usize {
    let hashes = text[at + 1..].iter().take_while(|c| **c == '#').count();
    if text.get(at + 1 + hashes) != Some(&'"') {
        return at;
    }
    let closes = |end: usize| {
        text[end] == '"'
            && text[end + 1..]
                .iter()
                .take(hashes)
                .filter(|c| **c == '#')
                .count()
                == hashes
    };
    (at + 2 + hashes..text.len())
        .find(|end| closes(*end))
        .map_or(text.len(), |end| end + 1 + hashes)
}

/// `'x'`, `'\n'`, `'\u{1F600}'`; `at` itself for a lifetime.
fn end_of_character(text: &[char], at: usize) -> usize {
    if text.get(at + 1) == Some(&'\\') {
        let close = text[(at + 3).min(text.len())..]
            .iter()
            .position(|c| *c == '\'');
        close.map_or(text.len(), |length| at + 3 + length + 1)
    } else if text.get(at + 2) == Some(&'\'') {
        at + 3
    } else {
        at
    }
}

fn continues_a_word(text: &[char], at: usize) -> bool {
    // `b` and `c` may stand before a raw string: br"…".
    let word = |c: char| c.is_alphanumeric() || c == '_';
    match at.checked_sub(1).map(|before| text[before]) {
        Some('b' | 'c') => at >= 2 && word(text[at - 2]),
        Some(before) => word(before),
        None => false,
    }
}

/// The code with its `#[cfg(test)] mod … { … }` blanked.
fn without_tests(code: &str) -> String {
    let mut kept = code.to_string();
    let mut from = 0;
    while let Some(found) = kept[from..].find("#[cfg(test)]") {
        let start = from + found;
        from = start + "#[cfg(test)]".len();
        if !kept[from..].trim_start().starts_with("mod ") {
            continue;
        }
        let end = end_of_block(&kept, from);
        let blank: String = kept[start..end]
            .chars()
            .map(|c| if c == '\n' { '\n' } else { ' ' })
            .collect();
        kept.replace_range(start..end, &blank);
        from = start + blank.len();
    }
    kept
}

/// Behind the block, or the semicolon, that ends the item.
fn end_of_block(code: &str, from: usize) -> usize {
    let mut depth = 0;
    for (offset, character) in code[from..].char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return from + offset + 1,
            _ => continue,
        }
        if depth == 0 {
            return from + offset + 1;
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(source: &str) -> Vec<String> {
        paths(source)
            .into_iter()
            .map(|(line, path)| format!("{line} {}", path.join("::")))
            .collect()
    }

    #[test]
    fn trees_are_spelled_out_with_the_line_of_each_leaf() {
        let tree = "a::{\n  b,\n  c::{d, e as f},\n  g::*,\n};";
        assert_eq!(named(tree), ["2 a::b", "3 a::c::d", "3 a::c::e", "4 a::g"]);
    }

    #[test]
    fn a_struct_literal_is_no_tree() {
        assert_eq!(named("A::B { c: d::E }"), ["1 A::B", "1 c", "1 d::E"]);
    }

    #[test]
    fn lines_are_counted_through_comments_and_literals() {
        assert_eq!(named("/* a\n b */ c \"d\n e\" f"), ["2 c", "3 f"]);
    }

    #[test]
    fn a_source_that_breaks_off_is_read_to_its_end() {
        for source in ["a /* b", "a \"b", "a r#\"b\"", "a '\\", "a \"\\", "a '"] {
            assert_eq!(named(source), ["1 a"], "{source}");
        }
        assert_eq!(named("a::{b"), ["1 a::b"]);
    }
}
