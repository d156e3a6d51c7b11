//! The npm package where it is meant to run: in a real Chromium.

use super::{Trouble, count, js, or_get};
use crate::chromium;
use crate::invocation::Invocation;
use crate::tally::Tally;

pub(super) fn check(tally: &mut Tally) -> Result<String, Trouble> {
    let (variable, program) = browser()?;
    js::prepare()?;
    // The example page talks to it.
    Invocation::new("cargo build --package video_tasks --bin video_tasks").run()?;
    // One browser at a time: each has several processes, and the tests measure none of it.
    let tests = js::tests_of("tests/browser", &["--test-concurrency=1"])?;
    count(&tests.env(variable, program), tally)
}

/// The variable that tells the tests where Chromium is, and its value.
pub(super) fn browser() -> Result<(&'static str, String), Trouble> {
    let program = or_get(chromium::prepare(), chromium::GET)?;
    Ok((chromium::VARIABLE, program))
}
