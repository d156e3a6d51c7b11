//! Core depends on five crates, on wasm on four: what people put before a payment is small.

use super::Trouble;
use crate::invocation::Invocation;
use crate::tally::Tally;
use std::collections::BTreeSet;

const ALWAYS: [&str; 4] = ["serde", "serde_json", "sha2", "thiserror"];

pub(super) fn check(_: &mut Tally) -> Result<String, Trouble> {
    let tree = "cargo tree -p idemp -e normal --prefix none --depth 1";
    let wasm = format!("{tree} --no-default-features --target wasm32-unknown-unknown");
    compare(&format!("{tree} --no-default-features"), &["rand"])?;
    compare(&wasm, &[])?;
    compare(
        &format!("{tree} --all-features"),
        &["rand", "tokio", "tracing"],
    )?;
    Ok("serde, serde_json, sha2, thiserror, rand (not on wasm)".to_string())
}

fn compare(line: &str, besides: &[&str]) -> Result<(), String> {
    let tree = Invocation::new(line);
    tree.show();
    let printed = tree.capture()?;
    let found = direct(&printed)?;
    let allowed: BTreeSet<&str> = ALWAYS.iter().chain(besides).copied().collect();
    let joined = |names: Vec<&str>| names.join(", ");
    let added = joined(found.difference(&allowed).copied().collect());
    let gone = joined(allowed.difference(&found).copied().collect());
    match (added.is_empty(), gone.is_empty()) {
        (true, true) => Ok(()),
        (false, _) => Err(format!(
            "core depends on {added}, which is not on its list\n{printed}"
        )),
        (true, false) => Err(format!(
            "core no longer depends on {gone}: take it off the list\n{printed}"
        )),
    }
}

/// The direct dependencies in the output of `cargo tree --prefix none --depth 1`: the first line
/// is the crate itself, every other one begins with a name and a version.
fn direct(tree: &str) -> Result<BTreeSet<&str>, String> {
    let mut lines = tree.lines().filter(|line| !line.trim().is_empty());
    match lines.next().and_then(|line| line.split_whitespace().next()) {
        Some("idemp") => Ok(lines
            .filter_map(|line| line.split_whitespace().next())
            .collect()),
        _ => Err(format!("cargo tree printed something unknown:\n{tree}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direct_dependencies_are_read_from_the_tree() {
        let tree = "idemp v0.1.0 (/somewhere/core)\nserde v1.0.228\nthiserror v2.0.17 (*)\n\
                    serde_derive v1.0.228 (proc-macro)\n\n";
        let found: Vec<&str> = direct(tree).unwrap().into_iter().collect();
        assert_eq!(found, ["serde", "serde_derive", "thiserror"]);
    }

    #[test]
    fn a_tree_of_something_else_is_no_proof() {
        assert!(direct("").is_err());
        assert!(direct("serde v1.0.228\n").is_err());
    }
}
