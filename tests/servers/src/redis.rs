//! A Redis server of one's own.

use crate::keeper::Keeper;
use crate::resp::{self, Reply};
use crate::server::{self, Server};
use crate::{port, programs};
use rustix::process::Signal;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::OnceLock;

/// A Redis or Valkey server, on a free port of loopback, that keeps nothing on disk unless told.
///
/// Dropping it stops the server and removes its files; so does the end of this process.
#[derive(Debug)]
pub struct Redis {
    server: Option<Server>,
    keeper: Keeper,
    arguments: Vec<String>,
    port: u16,
}

impl Redis {
    /// Starts a new and empty server with arguments of `redis-server`:
    /// `["--appendonly", "yes", "--appendfsync", "always"]`. They stay over a restart.
    ///
    /// # Panics
    /// Where there is no Redis, or it does not start; the message says how to get one.
    #[must_use]
    pub fn start(arguments: &[&str]) -> Self {
        let mut redis = Self {
            server: None,
            keeper: Keeper::new("KILL"),
            arguments: arguments.iter().map(|word| word.to_string()).collect(),
            port: 0,
        };
        port::claim("Redis", |port| {
            redis.port = port;
            let started = redis.try_start().then_some(());
            started.ok_or_else(|| server::said(&redis.keeper))
        });
        redis
    }

    /// The server that all tests of this process share, started by the first that asks. It keeps
    /// nothing on disk.
    ///
    /// # Panics
    /// As [`Redis::start`].
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Redis> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[]))
    }

    /// `redis://127.0.0.1:PORT`, with the password where `--requirepass` set one.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_at(self.addr())
    }

    /// As [`Redis::url`] with another address: that of a [`Proxy`](crate::Proxy).
    #[must_use]
    pub fn url_at(&self, addr: SocketAddr) -> String {
        match self.password() {
            Some(password) => format!("redis://:{password}@{addr}"),
            None => format!("redis://{addr}"),
        }
    }

    /// Where the server listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Asks the server, over a connection of its own: `command(&["CONFIG", "GET", "maxmemory"])`.
    ///
    /// # Panics
    /// Where the server does not answer. An error that it answers is a [`Reply::Error`].
    pub fn command(&self, words: &[&str]) -> Reply {
        self.ask(words)
            .unwrap_or_else(|error| panic!("Redis did not answer {words:?}: {error}"))
    }

    /// As [`Redis::command`]; a server that does not answer is an error.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn ask(&self, words: &[&str]) -> io::Result<Reply> {
        Ok(self.try_all(&[words])?.remove(0))
    }

    /// Several commands over one connection, for those that belong together: `SET` and `WAIT`.
    ///
    /// # Panics
    /// As [`Redis::command`].
    pub fn commands(&self, commands: &[&[&str]]) -> Vec<Reply> {
        self.try_all(commands)
            .unwrap_or_else(|error| panic!("Redis did not answer {commands:?}: {error}"))
    }

    fn try_all(&self, commands: &[&[&str]]) -> io::Result<Vec<Reply>> {
        resp::ask(self.addr(), self.password(), commands)
    }

    /// Stops the server in good order and starts it again. What it holds in memory alone is gone.
    ///
    /// # Panics
    /// Where it does not start again.
    pub fn restart(&mut self) {
        self.stop(Signal::TERM);
        self.start_again();
    }

    /// SIGKILL. Returns when the server is gone.
    pub fn kill(&mut self) {
        self.stop(Signal::KILL);
    }

    /// Starts a server that was killed, with the same files and on the same port. Returns when it
    /// has read them and takes commands.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start_again(&mut self) {
        assert!(self.server.is_none(), "the server runs");
        let started = self.try_start();
        let said = server::said(&self.keeper);
        assert!(started, "Redis did not start:\n{said}");
    }

    /// For the next start: further arguments, which hold against those before them.
    pub(crate) fn add_arguments(&mut self, arguments: &[&str]) {
        let words = arguments.iter().map(|word| word.to_string());
        self.arguments.extend(words);
    }

    /// Holds the server: connections stay, and nothing answers.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Goes on after [`Redis::pause`].
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Whether the server was started and not killed since.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.server.is_some()
    }

    fn signal(&self, signal: Signal) {
        self.server
            .as_ref()
            .expect("the server runs")
            .signal(signal);
    }

    fn password(&self) -> Option<&str> {
        let mut words = self.arguments.iter();
        words.find(|word| *word == "--requirepass")?;
        words.next().map(String::as_str)
    }

    fn try_start(&mut self) -> bool {
        let mut command = Command::new(programs::redis());
        let port = self.port.to_string();
        command
            .args(["--port", &port, "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .arg("--dir")
            .arg(self.keeper.folder())
            .args(&self.arguments);
        let (addr, password) = (self.addr(), self.password());
        // Somebody else's server may be quicker at this port: it has another process id.
        let ready = |pid: u32| {
            resp::ask(addr, password, &[&["INFO"]]).is_ok_and(|info| {
                info[0].field("process_id") == Some(&*pid.to_string())
                    && info[0].field("loading") == Some("0")
            })
        };
        self.server = Server::start(&command, &self.keeper, ready);
        self.server.is_some()
    }

    fn stop(&mut self, signal: Signal) {
        if let Some(mut server) = self.server.take() {
            server.signal(signal);
            // A server that is paused hears nothing else.
            server.signal(Signal::CONT);
            server.wait();
            let _ = fs::remove_file(self.keeper.pid_file());
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop(Signal::KILL);
    }
}
