//! The tests of the crates, and which of them need a server.

use super::{Trouble, count_all};
use crate::invocation::Invocation;
use crate::programs::{self, Length, Program};
use crate::servers::{POSTGRES, Place, REDIS, Server};
use crate::tally::Tally;
use std::time::Duration;

/// Folders whose tests count what happens to a machine: one after the other, and each may say it.
const ALONE: [&str; 4] = [
    "stores/any",
    "tests/chaos",
    "tests/http-cases",
    "tests/servers",
];

pub(super) fn others(tally: &mut Tally) -> Result<String, Trouble> {
    count_all(&tests_of("tests", Length::Usual, None)?, tally)
}

pub(super) fn postgres(tally: &mut Tally) -> Result<String, Trouble> {
    let place = place(&POSTGRES)?;
    count_all(&tests_of("postgres", Length::Usual, Some(place))?, tally)
}

pub(super) fn redis(tally: &mut Tally) -> Result<String, Trouble> {
    let place = place(&REDIS)?;
    count_all(&tests_of("redis", Length::Usual, Some(place))?, tally)
}

pub(super) fn chaos(tally: &mut Tally) -> Result<String, Trouble> {
    count_all(&tests_of("chaos", Length::Usual, None)?, tally)
}

pub(super) fn endurance(tally: &mut Tally) -> Result<String, Trouble> {
    let (postgres, redis) = (place(&POSTGRES)?, place(&REDIS)?);
    let mut tests = tests_of("postgres", Length::Nightly, Some(postgres))?;
    tests.extend(tests_of("redis", Length::Nightly, Some(redis))?);
    tests.extend(tests_of("chaos", Length::Nightly, None)?);
    let others = programs::built(Length::Nightly)?.iter();
    let others =
        others.filter(|program| ["stores/sqlite", "tests/conformance"].contains(&&*program.folder));
    tests.extend(others.map(|program| invocation(program, Length::Nightly)));
    count_all(&tests, tally)
}

/// The step that runs a program: what is named after a server, and the store in it, has one of its own.
fn step_of(program: &Program) -> &'static str {
    let server = ["postgres", "redis"].into_iter().find(|server| {
        let named = program.name.as_deref().unwrap_or_default();
        named.starts_with(server) || program.folder == format!("stores/{server}")
    });
    let others = if program.folder == "tests/chaos" {
        "chaos"
    } else {
        "tests"
    };
    server.unwrap_or(others)
}

fn tests_of(step: &str, length: Length, server: Option<Place>) -> Result<Vec<Invocation>, Trouble> {
    let programs = programs::built(length)?.iter();
    let programs = programs.filter(|program| step_of(program) == step);
    let tests = programs.map(|program| {
        let tests = invocation(program, length);
        match &server {
            Some((variable, found)) => tests.env(variable, &**found),
            None => tests,
        }
    });
    Ok(tests.collect())
}

fn invocation(program: &Program, length: Length) -> Invocation {
    let tests = match ALONE.contains(&&*program.folder) && program.name.is_some() {
        true => program.run().arg("--test-threads=1").arg("--nocapture"),
        false => program.run(),
    };
    match length {
        Length::Usual => tests,
        Length::Nightly => tests
            .env("IDEMP_NIGHTLY", "1")
            .within(Duration::from_secs(6 * 3600)),
    }
}

fn place(server: &Server) -> Result<Place, Trouble> {
    server.prepare().map_err(|why| Trouble::DidNotRun {
        why,
        remedy: server.get(),
    })
}
