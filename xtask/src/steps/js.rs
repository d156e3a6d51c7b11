//! The npm package in Node: its types, and its tests.

use super::{Trouble, count, or_get};
use crate::invocation::Invocation;
use crate::tally::Tally;
use crate::{addon, node, package, workspace};

/// Folders with a `tsconfig.json`.
const TYPED: [&str; 7] = [
    "benches/node",
    "js",
    "tests/browser",
    "tests/node",
    "tests/packaging",
    "examples/analysis-page",
    "examples/express-video-tasks",
];

pub(super) fn check(tally: &mut Tally) -> Result<String, Trouble> {
    prepare()?;
    for folder in TYPED {
        Invocation::new("node node_modules/typescript/bin/tsc --noEmit --project")
            .arg(folder)
            .run()?;
    }
    // Left to itself Node takes one core fewer than there are.
    count(&tests_of("js/test", &["--test-concurrency=2"])?, tally)
}

/// What every test in JavaScript wants: Node, the packages of the lock file, ours, and its addon.
pub(super) fn prepare() -> Result<(), Trouble> {
    or_get(node::prepare(), node::GET)?;
    or_get(node::prepare_packages(), node::GET_PACKAGES)?;
    package::build()?;
    addon::build()
}

/// How long a file of tests may take, in seconds: one that hangs is named, and the rest run.
const LONGEST: u32 = 480;

/// Every test below a folder. They are named one by one: the oldest Node knows no patterns.
pub(super) fn tests_of(folder: &str, options: &[&str]) -> Result<Invocation, Trouble> {
    tests_about("", folder, options)
}

/// Those of which the file is named so.
pub(super) fn tests_about(
    what: &str,
    folder: &str,
    options: &[&str],
) -> Result<Invocation, Trouble> {
    let mut files = workspace::files(folder, ".test.ts")?;
    files.retain(|file| {
        file.rsplit('/')
            .next()
            .is_some_and(|name| name.starts_with(what))
    });
    if files.is_empty() {
        return Err(Trouble::Failed(format!("there is no test in {folder}")));
    }
    let node = Invocation::new("node --import tsx --test --test-reporter=spec")
        .arg(format!("--test-timeout={LONGEST}000"));
    let node = options.iter().fold(node, |node, option| node.arg(*option));
    Ok(files.into_iter().fold(node, Invocation::arg))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_of_typescript_has_its_types_checked() {
        let configured = workspace::tracked_files().unwrap();
        let configured = configured
            .iter()
            .filter_map(|path| path.strip_suffix("/tsconfig.json"));
        for folder in configured {
            assert!(TYPED.contains(&folder), "{folder}");
        }
    }

    #[test]
    fn a_folder_without_a_test_is_a_failure_and_no_success() {
        assert!(matches!(tests_of("xtask", &[]), Err(Trouble::Failed(_))));
    }
}
