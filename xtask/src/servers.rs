//! PostgreSQL and Redis for the tests of the stores: found, or brought by Debian.

use crate::debian::Unpacked;
use crate::{apt, toolchain};
use std::path::PathBuf;

/// A server that tests start for themselves.
pub(crate) struct Server {
    /// The package of Debian.
    package: &'static str,
    /// Where the tests would find it: a program, or the folder of several.
    find: fn() -> Result<PathBuf, String>,
    /// The variable that tells the tests where it is.
    variable: &'static str,
    /// What is called out of an unpacked package. The first is the server.
    programs: &'static [&'static str],
    follow: &'static [&'static str],
}

pub(crate) const POSTGRES: Server = Server {
    package: "postgresql",
    find: idemp_servers::postgres_folder,
    variable: "IDEMP_POSTGRES_BIN",
    programs: &["postgres", "initdb", "psql"],
    follow: &["postgresql-", "lib"],
};

pub(crate) const REDIS: Server = Server {
    package: "redis-server",
    find: idemp_servers::redis_server,
    variable: "IDEMP_REDIS_BIN",
    programs: &["redis-server"],
    follow: &["redis-tools", "lib", "lua-"],
};

/// Where a server is, for a command that runs tests: a variable and its value.
pub(crate) type Place = (&'static str, String);

impl Server {
    /// What is here already, without installing anything: its version.
    pub(crate) fn here(&self) -> Option<String> {
        let found = (self.find)().ok().or_else(|| self.unpacked(&[]).here())?;
        let program = match found.is_dir() {
            true => found.join(self.programs[0]),
            false => found,
        };
        toolchain::version(&program.display().to_string())
    }

    /// The command that gets it.
    pub(crate) fn get(&self) -> String {
        format!("apt-get install {}", self.package)
    }

    /// What is here, or what Debian can bring: installed where we are root, without starting it,
    /// else unpacked below `target/tools`.
    pub(crate) fn prepare(&self) -> Result<Place, String> {
        let missing = match (self.find)() {
            Ok(found) => return Ok(self.at(found)),
            Err(missing) => missing,
        };
        let packages = [self.package.to_string()];
        let unpacked = self.unpacked(&packages);
        let brought = match unpacked.here() {
            Some(home) => Ok(self.inside(home)),
            None if apt::is_root() => apt::install(&[self.package]).and_then(|()| (self.find)()),
            None => unpacked.bring().map(|home| self.inside(home)),
        };
        match brought {
            Ok(found) => Ok(self.at(found)),
            Err(why) => Err(format!("{missing}\n{why}")),
        }
    }

    fn at(&self, found: PathBuf) -> Place {
        (self.variable, found.display().to_string())
    }

    /// What the variable is to name: the folder of several programs, or the one.
    fn inside(&self, home: PathBuf) -> PathBuf {
        match self.programs {
            [one] => home.join(one),
            _ => home,
        }
    }

    fn unpacked<'a>(&'a self, packages: &'a [String]) -> Unpacked<'a> {
        Unpacked {
            folder: self.package,
            packages,
            follow: self.follow,
            programs: self.programs,
        }
    }
}
