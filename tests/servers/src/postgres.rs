//! A PostgreSQL server of one's own.

use crate::keeper::Keeper;
use crate::server::{self, Server};
use crate::{port, programs};
use rustix::process::{Signal, kill_process};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// A database that `idemp_app` owns, who is no superuser: row level security holds for it.
const SETUP: &str = "CREATE ROLE idemp_app LOGIN CREATEDB CREATEROLE NOBYPASSRLS PASSWORD 'secret'\n\
                     CREATE DATABASE idemp OWNER idemp_app\n";

/// A PostgreSQL server, on a free port of loopback, with `fsync` on and no socket file.
///
/// Connections from loopback are trusted. Dropping it stops the server and removes its files; so
/// does the end of this process.
#[derive(Debug)]
pub struct Postgres {
    server: Option<Server>,
    keeper: Keeper,
    settings: Vec<(String, String)>,
    port: u16,
}

impl Postgres {
    /// Starts a new and empty server.
    ///
    /// # Panics
    /// Where there is no PostgreSQL, or it does not start; the message says how to get one.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a new server with settings of `postgresql.conf`:
    /// `[("synchronous_commit", "off")]`. They stay over a restart.
    ///
    /// # Panics
    /// As [`Postgres::start`].
    #[must_use]
    pub fn start_with(settings: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        let keeper = Keeper::new("QUIT");
        hand_over(keeper.folder());
        copy(template(), &data(&keeper));
        let mut postgres = Self {
            server: None,
            keeper,
            settings: settings.iter().map(owned).collect(),
            port: 0,
        };
        port::claim("PostgreSQL", |port| {
            postgres.port = port;
            let started = postgres.try_start().then_some(());
            started.ok_or_else(|| server::said(&postgres.keeper))
        });
        postgres
    }

    /// The server that all tests of this process share, started by the first that asks.
    ///
    /// # Panics
    /// As [`Postgres::start`].
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// The database `idemp`, as its owner `idemp_app`, who is no superuser.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_at(self.addr())
    }

    /// As [`Postgres::url`] with another address: that of a [`Proxy`](crate::Proxy).
    #[must_use]
    pub fn url_at(&self, addr: SocketAddr) -> String {
        format!("postgres://idemp_app:secret@{addr}/idemp")
    }

    /// The database `idemp`, as the superuser, for whom row level security does not hold.
    #[must_use]
    pub fn superuser_url(&self) -> String {
        format!("postgres://postgres@{}/idemp", self.addr())
    }

    /// Where the server listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Runs SQL by `psql` as the superuser in the database `idemp`, and hands back the rows, one a
    /// line, columns separated by `|`.
    ///
    /// # Panics
    /// Where a statement fails.
    pub fn sql(&self, statements: &str) -> String {
        let output = Command::new(programs::postgres("psql"))
            .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-d"])
            .arg(self.superuser_url())
            .args(["-c", statements])
            .stdin(Stdio::null())
            .output()
            .expect("psql is beside postgres");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "psql failed: {error}");
        String::from_utf8_lossy(&output.stdout).trim_end().into()
    }

    /// A new and empty database of `idemp_app`, and its address, as [`Postgres::url`].
    ///
    /// # Panics
    /// Where there is one of this name.
    pub fn database(&self, name: &str) -> String {
        self.sql(&format!("CREATE DATABASE \"{name}\" OWNER idemp_app"));
        format!("postgres://idemp_app:secret@{}/{name}", self.addr())
    }

    /// Stops the server in good order, cutting its connections, and starts it again.
    ///
    /// # Panics
    /// Where it does not start again.
    pub fn restart(&mut self) {
        self.stop(Signal::INT);
        self.start_again();
    }

    /// SIGKILL to the server and to every process of it. Returns when all are gone.
    pub fn kill(&mut self) {
        let Some(mut server) = self.server.take() else {
            return;
        };
        // Stopped first: a server cannot start another process while they are counted.
        server.signal(Signal::STOP);
        let children = server.children();
        server.signal(Signal::KILL);
        for child in &children {
            let _ = kill_process(*child, Signal::KILL);
        }
        server.wait();
        server::wait_for_the_end(&children);
        let _ = fs::remove_file(self.keeper.pid_file());
    }

    /// Starts a server that was killed, with the same files and on the same port. Returns when it
    /// has recovered and takes connections.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start_again(&mut self) {
        assert!(self.server.is_none(), "the server runs");
        let started = self.try_start();
        let said = server::said(&self.keeper);
        assert!(started, "PostgreSQL did not start:\n{said}");
    }

    /// Holds every process of the server: connections stay, and nothing answers.
    pub fn pause(&self) {
        self.signal_all(Signal::STOP);
    }

    /// Goes on after [`Postgres::pause`].
    pub fn resume(&self) {
        self.signal_all(Signal::CONT);
    }

    fn signal_all(&self, signal: Signal) {
        let server = self.server.as_ref().expect("the server runs");
        server.signal(signal);
        for child in server.children() {
            let _ = kill_process(child, signal);
        }
    }

    fn try_start(&mut self) -> bool {
        let user = programs::unprivileged();
        let mut command = programs::command_as(user.as_ref(), &programs::postgres("postgres"));
        let port = self.port.to_string();
        command
            .arg("-D")
            .arg(data(&self.keeper))
            .args(["-p", &port]);
        let ours = [
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", ""),
            ("max_connections", "200"),
        ];
        let theirs = self
            .settings
            .iter()
            .map(|(name, value)| (&**name, &**value));
        for (name, value) in ours.into_iter().chain(theirs) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        // As `pg_ctl` does it: the server writes its state into a file, line by line.
        let state = data(&self.keeper).join("postmaster.pid");
        let ready = |pid: u32| {
            let text = fs::read_to_string(&state).unwrap_or_default();
            let mut lines = text.lines().map(str::trim);
            lines.next() == Some(&*pid.to_string()) && lines.nth(6) == Some("ready")
        };
        self.server = Server::start(&command, &self.keeper, ready);
        self.server.is_some()
    }

    fn stop(&mut self, signal: Signal) {
        if let Some(mut server) = self.server.take() {
            server.signal(signal);
            // A server that is paused hears nothing else.
            server.signal(Signal::CONT);
            for child in server.children() {
                let _ = kill_process(child, Signal::CONT);
            }
            server.wait();
            let _ = fs::remove_file(self.keeper.pid_file());
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop(Signal::QUIT);
    }
}

fn data(keeper: &Keeper) -> PathBuf {
    keeper.folder().join("data")
}

/// A cluster that was set up once, to be copied: that takes a tenth of the time.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<(Keeper, PathBuf)> = OnceLock::new();
    let (_, folder) = TEMPLATE.get_or_init(|| {
        let keeper = Keeper::new("QUIT");
        hand_over(keeper.folder());
        let folder = data(&keeper);
        let user = programs::unprivileged();
        let program = |name: &str| {
            let mut command = programs::command_as(user.as_ref(), &programs::postgres(name));
            command.current_dir(keeper.folder()).env("LC_ALL", "C");
            command
        };
        // Not synced: this cluster is for servers that are killed, not for machines that are.
        let mut initdb = program("initdb");
        initdb
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8"])
            .args(["--locale=C", "--no-sync", "-D"])
            .arg(&folder);
        run(initdb, "");
        let mut single = program("postgres");
        single
            .arg("--single")
            .arg("-D")
            .arg(&folder)
            .arg("postgres");
        run(single, SETUP);
        (keeper, folder)
    });
    folder
}

/// Gives the folder to the user that the server runs as.
fn hand_over(folder: &Path) {
    if let Some((_, user, group)) = programs::unprivileged() {
        chown(folder, Some(user), Some(group)).expect("root may");
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).expect("our folder");
}

fn copy(from: &Path, to: &Path) {
    let mut cp = Command::new("cp");
    cp.arg("-Rp").arg(from).arg(to);
    run(cp, "");
}

fn run(mut command: Command, input: &str) {
    use std::io::Write;

    let name = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{name} did not run: {error}"));
    let mut pipe = child.stdin.take().expect("piped");
    pipe.write_all(input.as_bytes()).expect("it reads");
    drop(pipe);
    let output = child.wait_with_output().expect("it ends");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} failed: {error}");
}
