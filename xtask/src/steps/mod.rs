//! What CI runs, in order: the quick looks first, then what has to be built.

mod browser;
mod dependencies;
mod js;
mod leaks;
mod msrv;
mod node;
mod packaging;
mod purity;
mod stores;
mod versions;
pub(crate) mod wasm;

use crate::invocation::Invocation;
use crate::tally::Tally;
use crate::{fuzz, toolchain};

pub(crate) struct Step {
    /// What `--only` takes.
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Too slow for every change: runs under `--nightly`, or when named.
    pub(crate) nightly: bool,
    /// What mends a failure, mostly.
    pub(crate) mend: &'static str,
    /// Hands back a note for the summary.
    pub(crate) run: fn(&mut Tally) -> Result<String, Trouble>,
}

pub(crate) enum Trouble {
    Failed(String),
    DidNotRun { why: String, remedy: String },
}

impl Trouble {
    /// What to do about it.
    pub(crate) fn advice<'a>(&'a self, step: &Step) -> &'a str
    where
        'static: 'a,
    {
        match self {
            Self::Failed(_) => step.mend,
            Self::DidNotRun { remedy, .. } => remedy,
        }
    }
}

/// For what a step cannot start without.
pub(crate) fn or_get<T>(prepared: Result<T, String>, remedy: &str) -> Result<T, Trouble> {
    prepared.map_err(|why| Trouble::DidNotRun {
        why,
        remedy: remedy.to_string(),
    })
}

/// For a command that is no step: the whole of it in one message.
impl From<Trouble> for String {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Failed(why) => why,
            Trouble::DidNotRun { why, remedy } => format!("{why}\nto mend it: {remedy}"),
        }
    }
}

impl From<String> for Trouble {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

pub(crate) const ALL: &[Step] = &[
    Step {
        name: "format",
        about: "the code is formatted",
        nightly: false,
        mend: "cargo fmt --all",
        run: format,
    },
    Step {
        name: "dependencies",
        about: "core depends on five crates and no more",
        nightly: false,
        mend: "take the dependency out of core, or argue for it where the list is",
        run: dependencies::check,
    },
    Step {
        name: "purity",
        about: "core has no clock, thread, I/O or async of its own",
        nightly: false,
        mend: "hand the effect in from outside, or argue for it where the permissions are",
        run: purity::check,
    },
    Step {
        name: "leaks",
        about: "no file names the machine it was written on",
        nightly: false,
        mend: "write a relative path or the public name",
        run: leaks::check,
    },
    Step {
        name: "lint",
        about: "clippy has nothing to say",
        nightly: false,
        mend: "read the first warning above; `cargo clippy --fix` mends some",
        run: lint,
    },
    Step {
        name: "tests",
        about: "the tests of every crate that need no server, the exhaustive search among them",
        nightly: false,
        mend: "see `failures:` above; `cargo test -p CRATE NAME` runs one test",
        run: stores::others,
    },
    Step {
        name: "postgres",
        about: "the PostgreSQL store against a server of its own, the faults it survives, and HTTP on it",
        nightly: false,
        mend: "see `failures:` above",
        run: stores::postgres,
    },
    Step {
        name: "redis",
        about: "the Redis store against servers of its own, the faults it survives, and HTTP on it",
        nightly: false,
        mend: "see `failures:` above",
        run: stores::redis,
    },
    Step {
        name: "chaos",
        about: "the faults that need no server",
        nightly: false,
        mend: "see `failures:` above",
        run: stores::chaos,
    },
    Step {
        name: "doctests",
        about: "the examples in the documentation run",
        nightly: false,
        mend: "see `failures:` above",
        run: doctests,
    },
    Step {
        name: "examples",
        about: "the example programs build, and `fingerprint` tells requests apart",
        nightly: false,
        mend: "see the command above",
        run: examples,
    },
    Step {
        name: "docs",
        about: "the documentation builds without a warning",
        nightly: false,
        mend: "read the first warning above; mostly a link to a thing that moved",
        run: docs,
    },
    Step {
        name: "wasm",
        about: "core builds for the browser",
        nightly: false,
        mend: "see the first error above: core may use nothing that wasm lacks",
        run: wasm::check,
    },
    Step {
        name: "small",
        about: "core as pages get it, built for size: the same answers, natively",
        nightly: false,
        mend: "see `failures:` above; what differs is under `cfg(idemp_small)`",
        run: small,
    },
    Step {
        name: "js",
        about: "the TypeScript of the npm package, its tests and its example: types, and tests in Node",
        nightly: false,
        mend: "see the first error, or the first `not ok` or ✖, above",
        run: js::check,
    },
    Step {
        name: "node",
        about: "the npm package on servers: its stores, middleware and faults, with the real ones",
        nightly: false,
        mend: "see the first `not ok` or ✖ above",
        run: node::check,
    },
    Step {
        name: "browser",
        about: "the npm package and its example page in a real Chromium",
        nightly: false,
        mend: "see the first ✖ above",
        run: browser::check,
    },
    Step {
        name: "packaging",
        about: "the packed npm package in fresh projects, by every tool and runtime it promises",
        nightly: false,
        mend: "see the first ✖ above",
        run: packaging::check,
    },
    Step {
        name: "msrv",
        about: "the crates build with the oldest Rust they promise",
        nightly: false,
        mend: "see the first error above: mostly a newer function of std",
        run: msrv::check,
    },
    Step {
        name: "shuttle",
        about: "threads of the memory store, in many orders",
        nightly: false,
        mend: "see the schedule that failed above",
        run: shuttle,
    },
    Step {
        name: "deep",
        about: "core and the exhaustive search again, deeper and for release",
        nightly: true,
        mend: "see `failures:` above",
        run: deep,
    },
    Step {
        name: "endurance",
        about: "the stores, their conformance and their faults, for longer",
        nightly: true,
        mend: "see `failures:` above",
        run: stores::endurance,
    },
    Step {
        name: "versions",
        about: "the PostgreSQL store, in Rust and in Node, on the oldest version that is promised and on the newest",
        nightly: true,
        mend: "see the first failure above: mostly SQL that one of them reads otherwise",
        run: versions::check,
    },
    Step {
        name: "fuzz",
        about: "60 seconds for every fuzz target",
        nightly: true,
        mend: "the input that broke it lies in fuzz/artifacts: make it a test first",
        run: fuzz_all,
    },
];

fn format(_: &mut Tally) -> Result<String, Trouble> {
    if toolchain::version("cargo-fmt").is_none() {
        or_get(
            toolchain::add("component", "rustfmt"),
            "rustup component add rustfmt",
        )?;
    }
    Invocation::new("cargo fmt --all --check").run()?;
    Ok(String::new())
}

fn lint(_: &mut Tally) -> Result<String, Trouble> {
    if toolchain::version("cargo-clippy").is_none() {
        or_get(
            toolchain::add("component", "clippy"),
            "rustup component add clippy",
        )?;
    }
    for line in [
        "cargo clippy --workspace --all-targets --all-features -- -D warnings",
        "cargo clippy -p idemp --no-default-features -- -D warnings",
    ] {
        Invocation::new(line).run()?;
    }
    Ok(String::new())
}

fn doctests(tally: &mut Tally) -> Result<String, Trouble> {
    count(
        &Invocation::new("cargo test --workspace --all-features --doc --no-fail-fast"),
        tally,
    )
}

fn small(tally: &mut Tally) -> Result<String, Trouble> {
    const TESTS: [&str; 7] = [
        "canonical",
        "canonical_properties",
        "decision_table",
        "fingerprint",
        "races",
        "vectors",
        "wire",
    ];
    let tests = Invocation::new("cargo test -p idemp --target-dir target/small");
    let tests = TESTS
        .iter()
        .fold(tests, |tests, name| tests.arg("--test").arg(*name));
    count(&tests.env("RUSTFLAGS", "--cfg idemp_small"), tally)
}

fn shuttle(tally: &mut Tally) -> Result<String, Trouble> {
    let line = "cargo test -p idemp --test shuttle --target-dir target/shuttle";
    count(
        &Invocation::new(line).env("RUSTFLAGS", "--cfg shuttle"),
        tally,
    )
}

fn deep(tally: &mut Tally) -> Result<String, Trouble> {
    let line = "cargo test --release -p idemp -p idemp-interleavings --all-features --tests";
    count(
        &Invocation::new(line)
            .arg("--no-fail-fast")
            .env("IDEMP_NIGHTLY", "1"),
        tally,
    )
}

fn examples(_: &mut Tally) -> Result<String, Trouble> {
    Invocation::new("cargo build --workspace --examples --all-features").run()?;
    let of = |body: &str| {
        let example =
            Invocation::new("cargo run --quiet -p idemp --example fingerprint").input(body);
        example.show();
        let printed = example.capture()?;
        print!("{printed}");
        Ok::<_, String>(printed)
    };
    let order = of(r#"{"amount": 100, "to": "a"}"#)?;
    let same = of(r#"{"to":"a","amount":1e2}"#)?;
    let other = of(r#"{"to":"a","amount":101}"#)?;
    if order != same {
        return Err(Trouble::Failed(
            "one request, written in two ways, looks like two".to_string(),
        ));
    }
    if order == other || order.trim().is_empty() {
        return Err(Trouble::Failed(
            "two different requests look like one".to_string(),
        ));
    }
    Ok(String::new())
}

fn docs(_: &mut Tally) -> Result<String, Trouble> {
    let line = "cargo doc --workspace --no-deps --all-features";
    Invocation::new(line)
        .env("RUSTDOCFLAGS", "-D warnings")
        .run()?;
    Ok(String::new())
}

fn fuzz_all(_: &mut Tally) -> Result<String, Trouble> {
    let remedy = "rustup toolchain install nightly && cargo install cargo-fuzz --locked";
    or_get(toolchain::prepare_fuzzing(), remedy)?;
    Ok(fuzz::every_target(60)?)
}

/// Runs tests. A step in which none ran has shown nothing, so it fails.
fn count(tests: &Invocation, tally: &mut Tally) -> Result<String, Trouble> {
    count_all(&[vec![tests.clone()]], tally)
}

/// As `count`; something of each group has to run a test, and all run, though one of them fails.
fn count_all(groups: &[Vec<Invocation>], tally: &mut Tally) -> Result<String, Trouble> {
    let mut ran = 0;
    let mut failures = Vec::new();
    for group in groups {
        let mut own = Tally::default();
        for tests in group {
            failures.extend(tests.run_tests(&mut own).err());
        }
        if own.ran() == 0 {
            let shown: Vec<String> = group.iter().map(|tests| format!("`{tests}`")).collect();
            failures.push(format!("{} ran no test", shown.join(", ")));
        }
        ran += own.ran();
        tally.add(&own);
    }
    match ran {
        _ if !failures.is_empty() => Err(Trouble::Failed(failures.join("\n"))),
        1 => Ok("1 test".to_string()),
        ran => Ok(format!("{ran} tests")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_a_name_of_its_own_and_says_what_it_is_for() {
        for (number, step) in ALL.iter().enumerate() {
            assert!(
                ALL[..number].iter().all(|other| other.name != step.name),
                "{}",
                step.name
            );
            assert!(
                !step.about.is_empty() && !step.mend.is_empty(),
                "{}",
                step.name
            );
        }
    }

    #[test]
    fn a_step_in_which_no_test_ran_fails() {
        let mut tally = Tally::default();
        let none = "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        assert!(count(&Invocation::new("echo").arg(none), &mut tally).is_err());
        let two = "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        assert!(count(&Invocation::new("echo").arg(two), &mut tally).is_ok());
        assert_eq!(tally.passed, 2);
    }
}
