//! The test programs of the workspace. They are built once for all steps: for some of the crates alone
//! cargo picks other features of what they share, and builds all of that anew.

use crate::invocation::Invocation;
use crate::workspace;
use serde_json::Value;
use std::sync::OnceLock;

/// A program of `cargo test`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Program {
    /// Of its crate, from the root.
    pub(crate) folder: String,
    /// As cargo names the file in `tests/`; none where the tests lie in the crate itself.
    pub(crate) name: Option<String>,
    path: String,
}

#[derive(Clone, Copy)]
pub(crate) enum Length {
    Usual,
    /// Many times the rounds, in a build that is faster.
    Nightly,
}

impl Program {
    #[cfg(test)]
    pub(crate) fn of(folder: &str, name: Option<&str>) -> Self {
        Self {
            folder: folder.to_string(),
            name: name.map(String::from),
            path: "pwd".to_string(),
        }
    }

    /// As `cargo test` runs it: in the folder of its crate, and told of cargo.
    pub(crate) fn run(&self) -> Invocation {
        Invocation::new("")
            .arg(&self.path)
            .folder(&self.folder)
            .env("CARGO", "cargo")
    }
}

/// All of them, built where that was not done yet in this run.
pub(crate) fn built(length: Length) -> Result<&'static [Program], String> {
    static BUILT: [OnceLock<Result<Vec<Program>, String>>; 2] = [const { OnceLock::new() }; 2];
    let programs = BUILT[length as usize].get_or_init(|| build(length));
    programs.as_deref().map_err(Clone::clone)
}

fn build(length: Length) -> Result<Vec<Program>, String> {
    let build = Invocation::new("cargo test --workspace --all-features --tests --no-run");
    let build = match length {
        Length::Usual => build,
        Length::Nightly => build.arg("--release"),
    };
    let messages = build.arg("--message-format=json-render-diagnostics");
    let messages = messages.output()?;
    let mut programs: Vec<Program> = messages.lines().filter_map(program).collect();
    programs.sort();
    Ok(programs)
}

/// From what cargo says of a thing that it built, where that is a program of tests.
fn program(message: &str) -> Option<Program> {
    let message: Value = serde_json::from_str(message).ok()?;
    let target = &message["target"];
    let from_root = |path: &str| {
        let path = path.strip_prefix(workspace::root().to_str()?)?;
        Some(path.trim_start_matches('/').to_string())
    };
    (message["profile"]["test"] == true).then_some(())?;
    Some(Program {
        folder: from_root(
            message["manifest_path"]
                .as_str()?
                .strip_suffix("/Cargo.toml")?,
        )?,
        name: target["name"]
            .as_str()
            .filter(|_| target["kind"][0] == "test")
            .map(String::from),
        path: message["executable"].as_str()?.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_built_is_a_program_of_tests_or_is_none() {
        let root = workspace::root().display();
        let message = |kind: &str, test: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"{root}/stores/any/Cargo.toml",
                    "target":{{"kind":["{kind}"],"name":"url"}},"profile":{{"test":{test}}},
                    "executable":"{root}/target/debug/deps/url-1"}}"#
            )
        };
        let expected = |name: Option<&str>| Program {
            folder: "stores/any".to_string(),
            name: name.map(String::from),
            path: format!("{root}/target/debug/deps/url-1"),
        };
        assert_eq!(program(&message("test", true)), Some(expected(Some("url"))));
        assert_eq!(program(&message("lib", true)), Some(expected(None)));
        assert_eq!(program(&message("bin", false)), None);
        assert_eq!(
            program(r#"{"reason":"build-finished","success":true}"#),
            None
        );
    }

    #[test]
    fn a_program_is_run_in_the_folder_of_its_crate() {
        let here = Program::of("xtask", None);
        assert!(here.run().capture().unwrap().ends_with("/xtask\n"));
    }
}
