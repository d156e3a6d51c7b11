//! The tests of the stores, each with the server that it needs.

use super::{Trouble, count_all};
use crate::invocation::Invocation;
use crate::servers::{POSTGRES, Place, REDIS, Server};
use crate::tally::Tally;
use crate::workspace;
use std::time::Duration;

/// Their tests need a server, or much time: the step for all others leaves them out.
pub(super) const WITH_STEPS_OF_THEIR_OWN: [&str; 6] = [
    "idemp-postgres",
    "idemp-redis",
    "idemp-stores",
    "idemp-servers",
    "idemp-chaos",
    "idemp-http-cases",
];

/// What a program of tests is named after that needs one.
const SERVERS: [&str; 2] = ["postgres", "redis"];

pub(super) fn postgres(tally: &mut Tally) -> Result<String, Trouble> {
    count_all(&with("postgres", place(&POSTGRES)?, false), tally)
}

pub(super) fn redis(tally: &mut Tally) -> Result<String, Trouble> {
    count_all(&with("redis", place(&REDIS)?, false), tally)
}

pub(super) fn chaos(tally: &mut Tally) -> Result<String, Trouble> {
    count_all(&[without_server(false)], tally)
}

pub(super) fn endurance(tally: &mut Tally) -> Result<String, Trouble> {
    let (postgres, redis) = (place(&POSTGRES)?, place(&REDIS)?);
    let mut tests = with("postgres", postgres, true);
    tests.extend(with("redis", redis, true));
    tests.push(without_server(true));
    let others = ["-pidemp-sqlite", "-pidemp-conformance", "--tests"];
    tests.push(others.into_iter().fold(cargo_test(true), Invocation::arg));
    count_all(&tests, tally)
}

/// What opens a store by its URL, as far as that is no server's.
pub(super) fn by_url() -> Invocation {
    cargo_test(false)
        .arg("-pidemp-stores")
        .arg("--test")
        .arg("url")
}

/// The HTTP cases, on the stores that are no server's.
pub(super) fn http_cases() -> Invocation {
    let names = workspace::programs("tests/http-cases/tests").into_iter();
    let cases = cargo_test(false).arg("-pidemp-http-cases");
    names
        .filter(|name| !needs_server(name))
        .fold(cases, |tests, name| tests.arg("--test").arg(name))
}

/// The store's own tests, those of its server, its URL, its faults, and the HTTP cases on it.
fn with(server: &str, (variable, found): Place, longer: bool) -> Vec<Invocation> {
    let own = cargo_test(longer).arg(format!("-pidemp-{server}"));
    let faults = [
        "-pidemp-servers",
        "-pidemp-stores",
        "-pidemp-chaos",
        "-pidemp-http-cases",
        "--test",
    ]
    .into_iter()
    .fold(cargo_test(longer), Invocation::arg);
    let tests = [own.arg("--tests"), alone(faults.arg(format!("{server}*")))];
    tests.map(|tests| tests.env(variable, &*found)).into()
}

/// Every fault that is not named after a server, and the judgement itself.
fn without_server(longer: bool) -> Invocation {
    let own = cargo_test(longer).arg("-pidemp-chaos").arg("--lib");
    let names = workspace::programs("tests/chaos/tests");
    let names = names.into_iter().filter(|name| !needs_server(name));
    alone(names.fold(own, |tests, name| tests.arg("--test").arg(name)))
}

fn needs_server(name: &str) -> bool {
    SERVERS.iter().any(|server| name.starts_with(server))
}

fn cargo_test(longer: bool) -> Invocation {
    let tests = Invocation::new("cargo test --no-fail-fast --all-features");
    match longer {
        true => tests
            .arg("--release")
            .env("IDEMP_NIGHTLY", "1")
            .within(Duration::from_secs(6 * 3600)),
        false => tests,
    }
}

/// One test after the other, and each may say what it counted.
fn alone(tests: Invocation) -> Invocation {
    let options = ["--", "--test-threads=1", "--nocapture"];
    options.into_iter().fold(tests, Invocation::arg)
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

    #[test]
    fn every_program_of_tests_belongs_to_a_step() {
        for name in workspace::programs("tests/servers/tests") {
            assert!(needs_server(&name), "{name}.rs names no server");
        }
        for (folder, tests) in [
            ("tests/chaos/tests", without_server(false)),
            ("tests/http-cases/tests", http_cases()),
        ] {
            let line = format!("{tests} ");
            for name in workspace::programs(folder) {
                let here = line.contains(&format!("--test {name} "));
                assert!(here != needs_server(&name), "{name}: {line}");
            }
        }
    }
}
