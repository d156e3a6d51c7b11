//! Where the servers' programs are, and as whom they run.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of PostgreSQL's programs: named by `IDEMP_POSTGRES_BIN`, in the `PATH`, or where
/// Debian and Red Hat put them, the newest first.
pub(crate) fn postgres() -> PathBuf {
    let complete = |folder: &PathBuf| {
        let programs = ["initdb", "postgres", "psql"];
        programs.iter().all(|name| folder.join(name).is_file())
    };
    let named = std::env::var_os("IDEMP_POSTGRES_BIN").map(PathBuf::from);
    if let Some(folder) = named {
        assert!(
            complete(&folder),
            "IDEMP_POSTGRES_BIN names {}, which lacks initdb, postgres or psql",
            folder.display()
        );
        return folder;
    }
    let mut folders = path();
    folders.extend(versions(Path::new("/usr/lib/postgresql"), "bin"));
    folders.extend(versions(Path::new("/usr"), "bin").filter(|folder| {
        let name = folder.parent().and_then(Path::file_name);
        name.is_some_and(|name| name.to_string_lossy().starts_with("pgsql-"))
    }));
    folders.extend(configured());
    folders.into_iter().find(complete).unwrap_or_else(|| {
        panic!(
            "there is no PostgreSQL here: `apt-get install postgresql`, or name the folder of \
             initdb and postgres in IDEMP_POSTGRES_BIN; `cargo xtask test` does it where it can"
        )
    })
}

/// `redis-server` or `valkey-server`: named by `IDEMP_REDIS_BIN`, or in the `PATH`.
pub(crate) fn redis() -> PathBuf {
    if let Some(program) = std::env::var_os("IDEMP_REDIS_BIN").map(PathBuf::from) {
        assert!(
            program.is_file(),
            "IDEMP_REDIS_BIN names {}, which is not there",
            program.display()
        );
        return program;
    }
    let folders = path();
    ["redis-server", "valkey-server"]
        .iter()
        .find_map(|name| {
            let mut programs = folders.iter().map(|folder| folder.join(name));
            programs.find(|program| program.is_file())
        })
        .unwrap_or_else(|| {
            panic!(
                "there is no Redis here: `apt-get install redis-server`, or name the program in \
                 IDEMP_REDIS_BIN; `cargo xtask test` does it where it can"
            )
        })
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

/// `below/15/bin`, the highest number first.
fn versions(below: &Path, then: &str) -> impl Iterator<Item = PathBuf> {
    let number = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
        digits.parse::<u32>().unwrap_or(0)
    };
    let folders = std::fs::read_dir(below).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = folders.map(|item| item.path()).collect();
    folders.sort_by_key(|folder| std::cmp::Reverse(number(folder)));
    folders.into_iter().map(move |folder| folder.join(then))
}
