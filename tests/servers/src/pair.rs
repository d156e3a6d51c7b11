//! A primary and its replica, for what replication loses and `WAIT` keeps.

use crate::proxy::Proxy;
use crate::redis::Redis;
use crate::resp::Reply;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// A primary and one replica, which hears of the primary through a [`Proxy`].
#[derive(Debug)]
pub struct RedisPair {
    /// The server that clients write to.
    pub primary: Redis,
    /// The server that follows it.
    pub replica: Redis,
    between: Proxy,
}

impl RedisPair {
    /// Starts both with the same arguments. Returns when the replica follows.
    ///
    /// # Panics
    /// As [`Redis::start`], or where the replica does not follow.
    #[must_use]
    pub fn start(arguments: &[&str]) -> Self {
        // A new replica waits no five seconds for others to join it.
        let ours = ["--repl-diskless-sync-delay", "0"];
        let arguments = [&ours, arguments].concat();
        let primary = Redis::start(&arguments);
        let replica = Redis::start(&arguments);
        let between = Proxy::to(primary.addr());
        let port = between.addr().port().to_string();
        replica.command(&["REPLICAOF", "127.0.0.1", &port]);
        let pair = Self {
            primary,
            replica,
            between,
        };
        wait_until_it_follows(&pair.replica, &pair.primary);
        pair
    }

    /// From now on the replica hears nothing, while the primary goes on: what it acknowledges is
    /// on the primary alone.
    pub fn fall_behind(&self) {
        self.between.hold();
    }

    /// The replica hears again of everything since [`RedisPair::fall_behind`].
    ///
    /// # Panics
    /// Where it does not catch up.
    pub fn catch_up(&self) {
        self.between.pass();
        wait_until_it_follows(&self.replica, &self.primary);
    }

    /// Kills the primary and makes the replica the primary, as it is: what it had not heard is
    /// lost.
    pub fn fail_over(&mut self) {
        self.primary.kill();
        self.between.cut();
        self.between.pass();
        self.replica.command(&["REPLICAOF", "NO", "ONE"]);
    }

    /// Starts the server that was killed by [`RedisPair::fail_over`] as the replica of the other.
    /// It is never a primary of its own, not even for a moment.
    ///
    /// # Panics
    /// Where it does not start, or does not follow.
    pub fn rejoin(&mut self) {
        let port = self.replica.addr().port().to_string();
        self.primary
            .add_arguments(&["--replicaof", "127.0.0.1", &port]);
        self.primary.start_again();
        wait_until_it_follows(&self.primary, &self.replica);
    }
}

/// Until the replica confirms a write. That its link is up is not enough: a primary sends a new
/// replica nothing before its first word, which may take a second. Nor is a confirmation without
/// the link: a primary that never had a replica does not count what it writes.
fn wait_until_it_follows(replica: &Redis, primary: &Redis) {
    let started = Instant::now();
    let key = "idemp-servers:follows";
    let write: [&[&str]; 3] = [&["SET", key, "1"], &["DEL", key], &["WAIT", "1", "100"]];
    loop {
        let info = replica.command(&["INFO", "replication"]);
        let up = info.field("master_link_status") == Some("up");
        if primary.commands(&write)[2] == Reply::Number(1) && up {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "no replica follows: {info:?}");
    }
}
