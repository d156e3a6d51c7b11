//! The PostgreSQL store on other versions than the one that all other steps run on.

use super::{Trouble, count_all, js, node, or_get, stores};
use crate::postgres;
use crate::programs::Length;
use crate::tally::Tally;

pub(super) fn check(tally: &mut Tally) -> Result<String, Trouble> {
    js::prepare()?;
    node::build_programs()?;
    let mut tests = Vec::new();
    for version in postgres::OTHERS {
        let places = or_get(postgres::prepare(version), postgres::GET)?;
        tests.extend(stores::tests_of("postgres", Length::Usual, &places)?);
        let in_node = js::tests_about("postgres", "tests/node", &["--test-concurrency=2"])?;
        tests.push(vec![in_node.envs(&places)]);
    }
    count_all(&tests, tally)
}
