//! The npm package as its users get it: packed, installed, bundled and run.

use super::{Trouble, browser, count, js, or_get};
use crate::node;
use crate::tally::Tally;

pub(super) fn check(tally: &mut Tally) -> Result<String, Trouble> {
    let (chromium, browser) = browser::browser()?;
    js::prepare()?;
    let newer = or_get(node::prepare_newer(), node::GET_NEWER)?;
    // One project at a time: bundlers and runtimes take all the cores they find.
    let tests = js::tests_of("tests/packaging", &["--test-concurrency=1"])?
        .env(chromium, browser)
        .env(node::NEWER_VARIABLE, newer);
    count(&tests, tally)
}
