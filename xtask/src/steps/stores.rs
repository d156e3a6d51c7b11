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
    count_all(&tests_of("tests", Length::Usual, &[])?, tally)
}

pub(super) fn postgres(tally: &mut Tally) -> Result<String, Trouble> {
    let place = place(&POSTGRES)?;
    count_all(&tests_of("postgres", Length::Usual, &[place])?, tally)
}

pub(super) fn redis(tally: &mut Tally) -> Result<String, Trouble> {
    let place = place(&REDIS)?;
    count_all(&tests_of("redis", Length::Usual, &[place])?, tally)
}

pub(super) fn chaos(tally: &mut Tally) -> Result<String, Trouble> {
    count_all(&tests_of("chaos", Length::Usual, &[])?, tally)
}

pub(super) fn endurance(tally: &mut Tally) -> Result<String, Trouble> {
    let (postgres, redis) = (place(&POSTGRES)?, place(&REDIS)?);
    let mut tests = tests_of("postgres", Length::Nightly, &[postgres])?;
    tests.extend(tests_of("redis", Length::Nightly, &[redis])?);
    tests.extend(tests_of("chaos", Length::Nightly, &[])?);
    let others = programs::built(Length::Nightly)?.iter();
    let others =
        others.filter(|program| ["stores/sqlite", "tests/conformance"].contains(&&*program.folder));
    tests.push(
        others
            .map(|program| invocation(program, Length::Nightly))
            .collect(),
    );
    count_all(&tests, tally)
}

/// The step that runs a program: what is named after a server, and the store in it, has one of its own.
fn step_of(program: &Program) -> &'static str {
    let named = program.name.as_deref().unwrap_or_default();
    match &*program.folder {
        _ if named.starts_with("postgres") => "postgres",
        _ if named.starts_with("redis") => "redis",
        "stores/postgres" => "postgres",
        "stores/redis" => "redis",
        "tests/chaos" => "chaos",
        // Its tests are there under a cfg of their own.
        "core" if named == "shuttle" => "shuttle",
        _ => "tests",
    }
}

/// In groups that each have to run a test: a file of tests is one, and so are all crates together, of
/// which some have none inside.
pub(super) fn tests_of(
    step: &str,
    length: Length,
    places: &[Place],
) -> Result<Vec<Vec<Invocation>>, Trouble> {
    let programs = programs::built(length)?.iter();
    let programs = programs.filter(|program| step_of(program) == step);
    let tests = |program: &Program| invocation(program, length).envs(places);
    let (files, crates): (Vec<&Program>, Vec<_>) = programs.partition(|one| one.name.is_some());
    let mut groups: Vec<_> = files.into_iter().map(|file| vec![tests(file)]).collect();
    if !crates.is_empty() {
        groups.push(crates.into_iter().map(tests).collect());
    }
    Ok(groups)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    #[test]
    fn every_program_of_tests_belongs_to_a_step() {
        let step = |folder: &str, name: &str| step_of(&Program::of(folder, Some(name)));
        for name in workspace::programs("tests/servers/tests") {
            assert_ne!(
                step("tests/servers", &name),
                "tests",
                "{name}.rs names no server"
            );
        }
        assert_eq!(step("tests/chaos", "postgres"), "postgres");
        assert_eq!(step("tests/chaos", "sqlite"), "chaos");
        assert_eq!(step("stores/redis", "conformance"), "redis");
        assert_eq!(step("stores/sqlite", "conformance"), "tests");
        assert_eq!(step("core", "shuttle"), "shuttle");
    }
}
