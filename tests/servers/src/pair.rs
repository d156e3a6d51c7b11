//! A primary and its replica, for what replication loses and `WAIT` keeps.

use crate::proxy::Proxy;
use crate::redis::Redis;
use crate::resp::Reply;
use std::thread;
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
        pair.wait_until_it_follows();
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
        self.wait_until_it_follows();
    }

    /// Kills the primary and makes the replica the primary, as it is: what it had not heard is
    /// lost.
    pub fn fail_over(&mut self) {
        self.primary.kill();
        self.between.cut();
        self.between.pass();
        self.replica.command(&["REPLICAOF", "NO", "ONE"]);
    }

    fn wait_until_it_follows(&self) {
        let started = Instant::now();
        let offset = |info: &Reply, name: &str| -> Option<u64> { info.field(name)?.parse().ok() };
        loop {
            let written = self.primary.command(&["INFO", "replication"]);
            let heard = self.replica.command(&["INFO", "replication"]);
            let up = heard.field("master_link_status") == Some("up");
            if up && offset(&heard, "slave_repl_offset") >= offset(&written, "master_repl_offset") {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "the replica does not follow");
            thread::sleep(Duration::from_millis(5));
        }
    }
}
