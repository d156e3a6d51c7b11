//! Where the servers' programs are, and as whom they run.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of PostgreSQL's programs: named by `IDEMP_POSTGRES_BIN`, in the `PATH`, or where
/// Debian and Red Hat put them, the newest first.
///
/// # Errors
/// Where there is none: how to get one.
pub fn postgres_folder() -> Result<PathBuf, String> {
    let complete = |folder: &PathBuf| {
        let programs = ["initdb", "postgres", "psql"];
        programs.iter().all(|name| folder.join(name).is_file())
    };
    if let Some(folder) = std::env::var_os("IDEMP_POSTGRES_BIN").map(PathBuf::from) {
        let lacking = "which lacks initdb, postgres or psql";
        return Some(folder.clone())
            .filter(complete)
            .ok_or_else(|| format!("IDEMP_POSTGRES_BIN names {}, {lacking}", folder.display()));
    }
    let mut folders = path();
    folders.extend(versions("/usr/lib/postgresql", ""));
    folders.extend(versions("/usr", "pgsql-"));
    folders.extend(configured());
    folders.into_iter().find(complete).ok_or_else(|| {
        "there is no PostgreSQL here: `apt-get install postgresql`, or name the folder of initdb, \
         postgres and psql in IDEMP_POSTGRES_BIN; `cargo xtask test` brings it where it can"
            .to_string()
    })
}

/// `redis-server` or `valkey-server`: named by `IDEMP_REDIS_BIN`, or in the `PATH`.
///
/// # Errors
/// Where there is none: how to get one.
pub fn redis_server() -> Result<PathBuf, String> {
    let present = |program: &PathBuf| program.is_file();
    if let Some(program) = std::env::var_os("IDEMP_REDIS_BIN").map(PathBuf::from) {
        return Some(program.clone())
            .filter(present)
            .ok_or_else(|| format!("IDEMP_REDIS_BIN names {}: not there", program.display()));
    }
    let folders = path();
    let named = |name| {
        folders
            .iter()
            .map(move |folder: &PathBuf| folder.join(name))
    };
    let mut programs = named("redis-server").chain(named("valkey-server"));
    programs.find(present).ok_or_else(|| {
        "there is no Redis here: `apt-get install redis-server`, or name the program in \
         IDEMP_REDIS_BIN; `cargo xtask test` brings it where it can"
            .to_string()
    })
}

/// One of PostgreSQL's programs.
pub(crate) fn postgres(program: &str) -> PathBuf {
    let folder = postgres_folder().unwrap_or_else(|missing| panic!("{missing}"));
    folder.join(program)
}

pub(crate) fn redis() -> PathBuf {
    redis_server().unwrap_or_else(|missing| panic!("{missing}"))
}

/// The user that PostgreSQL runs as where we are root, which it refuses: name, user and group id.
pub(crate) fn unprivileged() -> Option<(String, u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = ["postgres", "nobody"]
        .iter()
        .find_map(|name| users.lines().find_map(|line| user(line, name)));
    Some(found.unwrap_or_else(|| {
        panic!("PostgreSQL does not run as root, and there is no user `postgres` or `nobody`")
    }))
}

/// A command as that user, in the process that is spawned: nothing forks in between.
pub(crate) fn command_as(user: Option<&(String, u32, u32)>, program: &Path) -> Command {
    let Some((_, user, group)) = user else {
        return Command::new(program);
    };
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--reuid={user}"))
        .arg(format!("--regid={group}"))
        .args(["--clear-groups", "--"])
        .arg(program);
    command
}

/// `postgres:x:106:113::/var/lib/postgresql:/bin/bash`
fn user(line: &str, wanted: &str) -> Option<(String, u32, u32)> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| *name == wanted)?;
    let user = fields.nth(1)?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    Some((name.to_string(), user, group))
}

fn path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).collect()
}

fn configured() -> Option<PathBuf> {
    let said = Command::new("pg_config").arg("--bindir").output().ok()?;
    Some(PathBuf::from(String::from_utf8(said.stdout).ok()?.trim()))
}

/// `below/15/bin` or `below/pgsql-15/bin`, the highest number first.
fn versions(below: &str, prefix: &str) -> Vec<PathBuf> {
    let items = std::fs::read_dir(below).into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = items
        .filter_map(|item| {
            let name = item.file_name().into_string().ok()?;
            let version = name.strip_prefix(prefix)?.parse().ok()?;
            Some((version, item.path().join("bin")))
        })
        .collect();
    found.sort_by(|one, other| other.cmp(one));
    found.into_iter().map(|(_, folder)| folder).collect()
}
