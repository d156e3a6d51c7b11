//! Core decides and does nothing else: time, threads, I/O and async come from outside.
//!
//! The compiler cannot say so (core builds with `std`), so the sources are read: every path in
//! them, `use` trees spelled out, outside comments, strings and `#[cfg(test)]` modules.

use super::Trouble;
use crate::invocation::Tally;
use crate::workspace;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Clock,
    Thread,
    Io,
    Async,
}

/// A run of path segments that betrays an effect.
const BETRAYALS: &[(&[&str], Effect)] = &[
    (&["SystemTime"], Effect::Clock),
    (&["Instant", "now"], Effect::Clock),
    (&["std", "thread"], Effect::Thread),
    (&["std", "net"], Effect::Io),
    (&["std", "fs"], Effect::Io),
    (&["std", "process"], Effect::Io),
    (&["async"], Effect::Async),
    (&["await"], Effect::Async),
    (&["tokio"], Effect::Async),
];

/// The files that may, what they may, and why.
const PERMISSIONS: &[(&str, &[Effect], &str)] = &[
    (
        "core/src/time.rs",
        &[Effect::Clock],
        "the system clock, which the memory store takes",
    ),
    (
        "core/src/store.rs",
        &[Effect::Async],
        "the trait of async stores",
    ),
    (
        "core/src/asynchronous.rs",
        &[Effect::Async],
        "the driver for async stores",
    ),
    (
        "core/src/keep_alive.rs",
        &[Effect::Async],
        "renews leases on tokio, by feature",
    ),
    (
        "core/src/wait.rs",
        &[Effect::Async],
        "waits for an outcome on tokio, by feature",
    ),
];

pub(super) fn check(_: &mut Tally) -> Result<String, Trouble> {
    let files = workspace::rust_files("core/src")?;
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| !holds_only_tests(file)) {
        for (line, effect, path) in effects(&workspace::read(file)?) {
            if !permitted(file, effect) {
                findings.push(format!("{file}:{line}: `{path}` ({effect:?})"));
            }
        }
    }
    if !findings.is_empty() {
        let findings = findings.join("\n");
        return Err(Trouble::Failed(format!(
            "core does more than decide\n{findings}"
        )));
    }
    for (file, _, why) in PERMISSIONS
        .iter()
        .filter(|row| files.iter().any(|file| file == row.0))
    {
        println!("permitted: {file}: {why}");
    }
    Ok(format!("{} files", files.len()))
}

fn permitted(file: &str, effect: Effect) -> bool {
    PERMISSIONS
        .iter()
        .any(|(name, effects, _)| *name == file && effects.contains(&effect))
}

/// `#[cfg(test)] mod tests;` with a file of its own.
fn holds_only_tests(file: &str) -> bool {
    file.ends_with("/tests.rs") || file.contains("/tests/")
}

/// Line, effect and the path that betrays it.
fn effects(source: &str) -> Vec<(usize, Effect, String)> {
    let mut found = Vec::new();
    for (line, path) in paths(&without_tests(&code_only(source))) {
        for (betrayal, effect) in BETRAYALS {
            if path
                .windows(betrayal.len())
                .any(|segments| segments == *betrayal)
            {
                found.push((line, *effect, path.join("::")));
            }
        }
    }
    found
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

/// Every path with its line, trees spelled out: `std::{fs, time::Instant}` is two.
fn paths(code: &str) -> Vec<(usize, Vec<String>)> {
    let tokens = tokens(code);
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
                    at = if tokens[at].is_name() {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn found(source: &str) -> Vec<(usize, Effect)> {
        effects(source)
            .into_iter()
            .map(|(line, effect, _)| (line, effect))
            .collect()
    }

    #[test]
    fn effects_are_found_however_they_are_imported() {
        assert_eq!(
            found("fn f() {\n    std::thread::yield_now();\n}"),
            [(2, Effect::Thread)]
        );
        assert_eq!(
            found("use std::{\n    fmt,\n    net::{IpAddr, TcpStream},\n};").len(),
            2
        );
        assert_eq!(found("use std::{io::Read, fs};"), [(1, Effect::Io)]);
        assert_eq!(found("let t = Instant::now();"), [(1, Effect::Clock)]);
        assert_eq!(
            found("let t = time::SystemTime::now();"),
            [(1, Effect::Clock)]
        );
        assert_eq!(found("pub async fn f() {}"), [(1, Effect::Async)]);
        assert_eq!(found("use ::std :: process;"), [(1, Effect::Io)]);
    }

    #[test]
    fn an_instant_that_was_handed_in_is_no_clock() {
        assert_eq!(
            found("use std::time::{Duration, Instant};\nfn f(now: Instant) {}"),
            []
        );
    }

    #[test]
    fn what_is_only_talked_about_is_not_done() {
        assert_eq!(found("/// Never `std::thread`. /* std::fs */"), []);
        assert_eq!(found("/* a /* std::fs */ std::net */ fn f() {}"), []);
        assert_eq!(
            found(r####"let a = "std::fs \" std::net"; let b = r#"tokio"::"#;"####),
            []
        );
        assert_eq!(found("let asynchronous = my_async_name;"), []);
    }

    #[test]
    fn what_follows_a_literal_is_read_again() {
        assert_eq!(
            found(r#"let q = '"'; std::fs::read("x")"#),
            [(1, Effect::Io)]
        );
        assert_eq!(found(r"let q = '\''; std::fs::read(x)"), [(1, Effect::Io)]);
        assert_eq!(
            found("fn f<'a>(x: &'a str) { std::fs::read(x) }"),
            [(1, Effect::Io)]
        );
        assert_eq!(
            found("let a = br\"x\"; std::fs::read(a)"),
            [(1, Effect::Io)]
        );
        assert_eq!(
            found("let r#type = r\"\"; std::fs::read(a)"),
            [(1, Effect::Io)]
        );
    }

    #[test]
    fn tests_may_and_code_after_them_may_not() {
        let source = "#[cfg(test)]\nmod tests {\n    fn f() { std::thread::spawn(g); }\n}\n";
        assert_eq!(found(source), []);
        assert_eq!(found(&format!("{source}use std::fs;")), [(5, Effect::Io)]);
        assert_eq!(
            found("#[cfg(test)]\nmod tests;\nuse std::fs;"),
            [(3, Effect::Io)]
        );
        assert_eq!(found("#[cfg(test)]\nuse std::fs;"), [(2, Effect::Io)]);
    }

    #[test]
    fn a_permission_is_for_one_file_and_one_effect() {
        assert!(permitted("core/src/time.rs", Effect::Clock));
        assert!(!permitted("core/src/time.rs", Effect::Thread));
        assert!(!permitted("core/src/memory.rs", Effect::Clock));
    }
}
