//! Programs out of Debian's packages, unpacked below `target/tools`. Nothing is installed.

use crate::invocation::Invocation;
use crate::{screen, toolchain};
use std::fs;
use std::path::{Path, PathBuf};

/// Packages that every machine has, or that hold nothing to run.
const NOT_FOLLOWED: [&str; 4] = ["libc6", "libgcc-s1", "libstdc++6", "postgresql-common"];

/// What to unpack.
pub(crate) struct Unpacked<'a> {
    /// The folder below `target/tools`.
    pub(crate) folder: &'a str,
    /// As for `apt-get`: `rustc-web` or `rustc-web=1.85*`.
    pub(crate) packages: &'a [String],
    /// How the names begin of packages that those cannot do without and few machines have.
    pub(crate) follow: &'a [&'a str],
    /// The programs in them that are to be called.
    pub(crate) programs: &'a [&'a str],
}

impl<'a> Unpacked<'a> {
    /// A compiler.
    pub(crate) fn compiler(folder: &'a str, packages: &'a [String]) -> Self {
        Self {
            folder,
            packages,
            follow: &["libstd-rust-web-", "libllvm"],
            programs: &["rustc"],
        }
    }

    /// The folder with the programs in it, if it was filled before.
    pub(crate) fn here(&self) -> Option<PathBuf> {
        let home = toolchain::tools().join(self.folder);
        let all = self.programs.iter().all(|name| home.join(name).is_file());
        all.then_some(home)
    }

    /// Downloads the packages and what they need, unpacks them, and hands back the folder with
    /// the programs in it.
    pub(crate) fn bring(&self) -> Result<PathBuf, String> {
        match self.here() {
            Some(home) => Ok(home),
            None => unpack(self),
        }
    }
}

fn unpack(wanted: &Unpacked<'_>) -> Result<PathBuf, String> {
    let Unpacked {
        folder,
        packages,
        follow,
        programs,
    } = *wanted;
    if toolchain::version("apt-get").is_none() || toolchain::version("dpkg").is_none() {
        return Err("this is no Debian: no apt-get, no dpkg".to_string());
    }
    let home = toolchain::tools().join(folder);
    let archives = home.join("packages");
    let files = home.join("files");
    // What an interrupted try left behind is not to be trusted.
    let _ = fs::remove_dir_all(&home);
    make(&archives)?;
    make(&files)?;
    screen::say(&format!(
        "unpacking into target/tools/{folder}: {}",
        packages.join(" ")
    ));

    let mut open = packages.to_vec();
    let mut seen = open.clone();
    while let Some(package) = open.pop() {
        let archive = download(&package, &archives)?;
        let archive = archive.display().to_string();
        let depends = Invocation::new("dpkg-deb --field")
            .arg(&archive)
            .arg("Depends")
            .capture()?;
        for needed in followed(&depends, follow) {
            let known = |name: &String| name.split('=').next() == Some(needed);
            if !seen.iter().any(known) {
                seen.push(needed.to_string());
                open.push(needed.to_string());
            }
        }
        Invocation::new("dpkg --extract")
            .arg(archive)
            .arg(files.display().to_string())
            .capture()?;
    }
    for program in programs {
        wrapper(&home, program)?;
    }
    let _ = fs::remove_dir_all(&archives);
    Ok(home)
}

fn make(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))
}

/// One package, in a folder of its own below `archives`, so that its file needs no guessing.
fn download(package: &str, archives: &Path) -> Result<PathBuf, String> {
    let folder = archives.join(package.split('=').next().unwrap_or(package));
    make(&folder)?;
    let shell = Invocation::new("sh -c")
        .arg("cd \"$0\" && exec apt-get download \"$1\"")
        .arg(folder.display().to_string())
        .arg(package);
    if shell.capture().is_err() {
        // A fresh machine has no list of packages yet. Only root may fetch one.
        screen::say("asking Debian for its list of packages: apt-get update");
        let _ = Invocation::new("apt-get update").capture();
        shell.capture()?;
    }
    let downloaded = fs::read_dir(&folder).into_iter().flatten().flatten().next();
    downloaded
        .map(|item| item.path())
        .ok_or_else(|| format!("apt-get brought no {package}"))
}

/// A program that finds its own libraries. They are written last: they mark the folder as complete.
fn wrapper(home: &Path, program: &str) -> Result<(), String> {
    let path = home.join(program);
    let script = format!(
        "#!/bin/sh\n\
        here=$(cd \"$(dirname \"$0\")\" && pwd)/files\n\
        for folder in \"$here\"/usr/lib/*-linux-gnu* \"$here\"/lib/*-linux-gnu* \"$here\"/usr/lib/llvm-*/lib; do\n\
        \tLD_LIBRARY_PATH=$folder${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\n\
        done\n\
        export LD_LIBRARY_PATH\n\
        for program in \"$here\"/usr/bin/{program} \"$here\"/usr/lib/postgresql/*/bin/{program}; do\n\
        \tif [ -x \"$program\" ]; then exec \"$program\" \"$@\"; fi\n\
        done\n\
        exit 127\n"
    );
    let broken = |error| format!("cannot write {}: {error}", path.display());
    let draft = home.join("draft");
    fs::write(&draft, script).map_err(broken)?;
    Invocation::new("chmod +x")
        .arg(draft.display().to_string())
        .capture()?;
    fs::rename(&draft, &path).map_err(broken)
}

/// `libc6 (>= 2.34), libllvm19` -> `libllvm19`, where `libllvm` is to be followed.
fn followed<'a>(depends: &'a str, follow: &[&str]) -> Vec<&'a str> {
    depends
        .split(',')
        .filter_map(|clause| clause.split_whitespace().next())
        .map(|name| name.split(':').next().unwrap_or(name))
        .filter(|name| follow.iter().any(|prefix| name.starts_with(prefix)))
        .filter(|name| !NOT_FOLLOWED.contains(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_few_machines_have_is_followed() {
        let depends = "libc6 (>= 2.34), libgcc-s1 (>= 4.2), libllvm19, libstdc++6 (>= 11)";
        assert_eq!(followed(depends, &["libllvm"]), ["libllvm19"]);
        let depends = "libstd-rust-web-dev (= 1.85.0), gcc, binutils (>= 2.26)";
        let compiler = ["libstd-rust-web-", "libllvm"];
        assert_eq!(followed(depends, &compiler), ["libstd-rust-web-dev"]);
        let depends = "libc6, postgresql-15, postgresql-common (>= 182), libpq5:any, tzdata";
        let server = ["postgresql-", "lib"];
        assert_eq!(followed(depends, &server), ["postgresql-15", "libpq5"]);
    }
}
