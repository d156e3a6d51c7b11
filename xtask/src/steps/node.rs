//! The npm package on servers: on the clients of PostgreSQL and Redis, with the real ones.

use super::{Trouble, count, js, or_get};
use crate::invocation::Invocation;
use crate::servers::{POSTGRES, REDIS};
use crate::tally::Tally;

pub(super) fn check(tally: &mut Tally) -> Result<String, Trouble> {
    js::prepare()?;
    let postgres = or_get(POSTGRES.prepare(), &POSTGRES.get())?;
    let redis = or_get(REDIS.prepare(), &REDIS.get())?;
    build_programs()?;
    // Each file has servers of its own, and there are few cores.
    let tests = js::tests_of("tests/node", &["--test-concurrency=2"])?;
    count(&tests.envs(&[postgres, redis]), tally)
}

/// What the tests call: servers, and the other half of what is handed over between the languages.
pub(super) fn build_programs() -> Result<(), Trouble> {
    Invocation::new("cargo build --package idemp-servers").run()?;
    Invocation::new("cargo build --package idemp-stores --example hand_over").run()?;
    Ok(())
}
