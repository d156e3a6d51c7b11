//! Core decides and does nothing else: time, threads, I/O and async come from outside.
//!
//! The compiler cannot say so (core builds with `std`), so the sources are read: every path in
//! them, `use` trees spelled out, outside comments, strings and `#[cfg(test)]` modules.

use super::Trouble;
use crate::tally::Tally;
use crate::{source_code, workspace};

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
        "core/src/in_transaction.rs",
        &[Effect::Async],
        "the async driver inside a caller's transaction",
    ),
    (
        "core/src/wire/driven.rs",
        &[Effect::Async],
        "calls from other languages, by that driver",
    ),
    (
        "core/src/keep_alive.rs",
        &[Effect::Async],
        "renews leases on tokio, by feature",
    ),
    (
        "core/src/wait.rs",
        &[Effect::Async, Effect::Clock],
        "waits for an outcome on tokio's clock, by feature",
    ),
    ("core/src/run.rs", &[Effect::Async], "runs async work once"),
    (
        "core/src/wire/driven.rs",
        &[Effect::Async],
        "the async driver, for a host whose store is native",
    ),
    (
        "core/src/testing.rs",
        &[Effect::Async],
        "a store that hangs, for tests",
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
    for (line, path) in source_code::paths(source) {
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
