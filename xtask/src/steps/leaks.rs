//! No tracked file names the machine it was written on, or a package registry of somebody's own.

use super::Trouble;
use crate::tally::Tally;
use crate::workspace;
use std::path::{Path, PathBuf};

/// Folders in which people and build machines keep their work.
const HOMES: [&str; 5] = ["/home/", "/root/", "/Users/", "/builds/", "C:\\Users\\"];

/// Registries that only one company can reach, by the names their software goes by.
const REGISTRIES: [&str; 5] = [
    "artifactory",
    "jfrog",
    "codeartifact",
    "verdaccio",
    "nexus.",
];

/// Where packages may come from, by lock file.
const SOURCES: [(&str, &str, &str); 2] = [
    (
        "Cargo.lock",
        "source = \"",
        "registry+https://github.com/rust-lang/crates.io-index\"",
    ),
    (
        "package-lock.json",
        "\"resolved\": \"",
        "https://registry.npmjs.org/",
    ),
];

pub(super) fn check(_: &mut Tally) -> Result<String, Trouble> {
    let files = workspace::tracked_files()?;
    let machine = Machine::this();
    let mut leaks = Vec::new();
    for path in files
        .iter()
        .filter(|path| !path.ends_with("xtask/src/steps/leaks.rs"))
    {
        let bytes = std::fs::read(workspace::root().join(path))
            .map_err(|error| format!("cannot read {path}: {error}"))?;
        let text = String::from_utf8_lossy(&bytes);
        for (number, line) in text.lines().enumerate() {
            if let Some(leak) = in_line(path, line, &machine) {
                leaks.push(format!("{path}:{}: {leak}", number + 1));
            }
        }
    }
    if leaks.is_empty() {
        Ok(format!("{} files", files.len()))
    } else {
        Err(Trouble::Failed(format!(
            "what should stay at home does not\n{}",
            leaks.join("\n")
        )))
    }
}

/// Folders of this machine whose contents a file of the project should not name.
struct Machine {
    folders: Vec<PathBuf>,
}

impl Machine {
    fn this() -> Self {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let around = workspace::root().parent().map(Path::to_path_buf);
        let deep = |folder: &PathBuf| folder.is_absolute() && folder.components().count() > 1;
        Self {
            folders: home.into_iter().chain(around).filter(deep).collect(),
        }
    }

    /// A path in the line that is there on this machine, inside one of its folders.
    fn names(&self, line: &str) -> bool {
        self.folders.iter().any(|folder| {
            let prefix = format!("{}/", folder.display());
            starts(line, &prefix).any(|at| {
                let rest = &line[at + prefix.len()..];
                let end = rest.find(|c: char| !(c.is_alphanumeric() || "-_.".contains(c)));
                let name = &rest[..end.unwrap_or(rest.len())];
                let name = name.trim_end_matches('.');
                !name.is_empty() && folder.join(name).exists()
            })
        })
    }
}

fn in_line(path: &str, line: &str, machine: &Machine) -> Option<&'static str> {
    if HOMES.iter().any(|home| starts(line, home).next().is_some()) || machine.names(line) {
        return Some("an absolute path of somebody's machine");
    }
    let lower = line.to_lowercase();
    if REGISTRIES.iter().any(|name| lower.contains(name)) {
        return Some("a package registry of somebody's own");
    }
    let foreign = SOURCES.iter().any(|(file, before, allowed)| {
        // A name without a scheme is a folder of the workspace.
        let source = line.trim_start().strip_prefix(before);
        let source = source.filter(|source| source.contains(':'));
        Path::new(path).ends_with(file) && source.is_some_and(|source| !source.starts_with(allowed))
    });
    foreign.then_some("a package that does not come from the public registry")
}

/// Where a path starts in a line: not in the middle of a longer path, nor of an address.
fn starts<'a>(line: &'a str, path: &'a str) -> impl Iterator<Item = usize> + 'a {
    let opens = |before: char| !(before.is_alphanumeric() || "._-~})/".contains(before));
    line.match_indices(path)
        .map(|(at, _)| at)
        .filter(move |at| line[..*at].chars().next_back().is_none_or(opens))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leak(path: &str, line: &str) -> Option<&'static str> {
        in_line(
            path,
            line,
            &Machine {
                folders: Vec::new(),
            },
        )
    }

    #[test]
    fn a_path_of_somebodys_machine_is_a_leak() {
        assert!(leak("a.md", "see /home/anna/idemp/core").is_some());
        assert!(leak("a.rs", "include!(\"/root/x.rs\")").is_some());
        assert!(leak("a.rs", "open C:\\Users\\Anna").is_some());
    }

    #[test]
    fn a_path_of_an_address_or_below_a_folder_is_none() {
        assert!(leak("a.md", "https://example.com/home/anna").is_none());
        assert!(leak("a.md", "docs/home/page.md").is_none());
        assert!(leak("a.sh", "ls $(pwd)/home/page ${x}/home/page").is_none());
        assert!(leak("a.md", "POST /api/video-tasks").is_none());
    }

    #[test]
    fn what_exists_around_the_workspace_is_a_leak_under_any_name() {
        let folder = workspace::root().join("xtask");
        let machine = Machine {
            folders: vec![folder.clone()],
        };
        let named = format!("see {}/src.", folder.display());
        let invented = format!("see {}/no-such-thing", folder.display());
        assert!(machine.names(&named));
        assert!(!machine.names(&invented));
    }

    #[test]
    fn a_lock_file_names_public_registries_only() {
        let public = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
        assert!(leak("Cargo.lock", public).is_none());
        assert!(
            leak(
                "fuzz/Cargo.lock",
                "source = \"sparse+https://crates.example/\""
            )
            .is_some()
        );
        assert!(leak("Cargo.lock", "source = \"git+https://example.com/x\"").is_some());
        let npm = "      \"resolved\": \"https://registry.npmjs.org/a/-/a-1.0.0.tgz\",";
        assert!(leak("js/package-lock.json", npm).is_none());
        assert!(leak("js/package-lock.json", &npm.replace("npmjs.org", "example")).is_some());
        let file = "      \"resolved\": \"file:../elsewhere\",";
        assert!(leak("package-lock.json", file).is_some());
    }

    #[test]
    fn a_lock_file_names_the_folders_of_its_own_workspace() {
        let folder = "      \"resolved\": \"tests/browser\",";
        assert!(leak("package-lock.json", folder).is_none());
    }
}
