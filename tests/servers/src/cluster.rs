//! A Redis Cluster of one's own.

use crate::port;
use crate::redis::Redis;
use crate::resp::Reply;
use std::thread;
use std::time::{Duration, Instant};

/// The slots of every cluster.
const SLOTS: usize = 16_384;
const PATIENCE: Duration = Duration::from_secs(60);

/// Several primaries that share the keys, each with the same number of replicas.
///
/// Nodes are counted from 0: first the primaries, then their replicas in the same order, round
/// after round.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
    primaries: usize,
}

impl RedisCluster {
    /// Starts `primaries` nodes without replicas.
    ///
    /// # Panics
    /// As [`Redis::start`], or where the nodes do not agree.
    #[must_use]
    pub fn start(primaries: usize) -> Self {
        Self::start_with(primaries, 0, &[])
    }

    /// Starts `primaries` nodes with `replicas` for each, and arguments of `redis-server` for all.
    ///
    /// # Panics
    /// As [`RedisCluster::start`].
    #[must_use]
    pub fn start_with(primaries: usize, replicas: usize, arguments: &[&str]) -> Self {
        let nodes = (0..primaries * (1 + replicas)).map(|_| node(arguments));
        let cluster = Self {
            nodes: nodes.collect(),
            primaries,
        };
        cluster.assemble();
        cluster
    }

    /// The addresses of all nodes that run: `redis://127.0.0.1:PORT`.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        let running = self.nodes.iter().filter(|node| node.runs());
        running.map(Redis::url).collect()
    }

    /// All nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// The slot of a key.
    #[must_use]
    pub fn slot_of(&self, key: &str) -> u16 {
        match self.any().command(&["CLUSTER", "KEYSLOT", key]) {
            Reply::Number(slot) => slot as u16,
            other => panic!("no slot: {other:?}"),
        }
    }

    /// Which node serves a slot.
    ///
    /// # Panics
    /// Where none does.
    #[must_use]
    pub fn owner(&self, slot: u16) -> usize {
        let serves = |node: &Redis| {
            let nodes = node.ask(&["CLUSTER", "NODES"]);
            nodes.is_ok_and(|nodes| own_slots(nodes.text()).any(|range| range.contains(&slot)))
        };
        let mut running = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.runs());
        let found = running.find(|(_, node)| serves(node));
        found.unwrap_or_else(|| panic!("nobody serves {slot}")).0
    }

    /// Moves a slot with its keys to another primary. Clients are told by `ASK` and `MOVED`.
    ///
    /// # Panics
    /// Where the nodes refuse.
    pub fn migrate_slot(&self, slot: u16, to: usize) {
        self.migrate_slot_while(slot, to, || {});
    }

    /// As [`RedisCluster::migrate_slot`]. `during` is called while the slot is on its way: its keys
    /// have moved, and the old node answers `ASK`.
    ///
    /// # Panics
    /// As [`RedisCluster::migrate_slot`].
    pub fn migrate_slot_while(&self, slot: u16, to: usize, during: impl FnOnce()) {
        let from = self.owner(slot);
        if from == to {
            return during();
        }
        let (source, target) = (&self.nodes[from], &self.nodes[to]);
        let (from_id, to_id, number) = (id(source), id(target), slot.to_string());
        let set = |node: &Redis, how: &str, id: &str| {
            ok(node.command(&["CLUSTER", "SETSLOT", &number, how, id]));
        };
        set(target, "IMPORTING", &from_id);
        set(source, "MIGRATING", &to_id);
        self.move_keys(slot, source, target);
        during();
        // What was written meanwhile went to the target already.
        self.move_keys(slot, source, target);
        set(target, "NODE", &to_id);
        set(source, "NODE", &to_id);
        for node in self.nodes.iter().filter(|node| node.runs()) {
            // Replicas hear of it from their primaries.
            let _ = node.ask(&["CLUSTER", "SETSLOT", &number, "NODE", &to_id]);
        }
        self.wait_until("the slot has moved", || self.owner(slot) == to);
    }

    /// Kills a primary and lets one of its replicas take its place. Returns when the cluster
    /// serves again, with the node that took over.
    ///
    /// # Panics
    /// Where the primary has no replica, or none takes over.
    pub fn fail_over(&mut self, primary: usize) -> usize {
        let lost = id(&self.nodes[primary]);
        let follows = |node: &Redis| {
            let role = node.ask(&["ROLE"]);
            let nodes = node.ask(&["CLUSTER", "NODES"]);
            role.is_ok_and(|role| is(&role, "slave"))
                && nodes.is_ok_and(|nodes| follows(nodes.text(), &lost))
        };
        let mut running = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.runs());
        let replica = running.find(|(_, node)| follows(node)).map(|(at, _)| at);
        let replica = replica.expect("a primary fails over to a replica");
        self.nodes[primary].kill();
        let node = &self.nodes[replica];
        self.wait_until("a replica takes over", || {
            // FORCE: without asking the primary, which is gone, but by vote of the others.
            let _ = node.ask(&["CLUSTER", "FAILOVER", "FORCE"]);
            node.ask(&["ROLE"]).is_ok_and(|role| is(&role, "master"))
        });
        self.wait_until_it_serves();
        replica
    }

    fn assemble(&self) {
        let (primaries, replicas) = self.nodes.split_at(self.primaries);
        for (at, node) in primaries.iter().enumerate() {
            let first = at * SLOTS / self.primaries;
            let last = (at + 1) * SLOTS / self.primaries - 1;
            let (first, last) = (first.to_string(), last.to_string());
            ok(node.command(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]));
            let epoch = (at + 1).to_string();
            ok(node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]));
        }
        let port = self.nodes[0].addr().port().to_string();
        let bus = self.nodes[0].command(&["CONFIG", "GET", "cluster-port"]);
        let Reply::List(bus) = bus else {
            panic!("no port of the bus: {bus:?}");
        };
        for node in &self.nodes[1..] {
            let meet = ["CLUSTER", "MEET", "127.0.0.1", &port, bus[1].text()];
            ok(node.command(&meet));
        }
        let all = self.nodes.len().to_string();
        self.wait_until("all nodes know each other", || {
            self.nodes.iter().all(|node| {
                let info = node.command(&["CLUSTER", "INFO"]);
                info.field("cluster_known_nodes") == Some(&all)
            })
        });
        for (at, node) in replicas.iter().enumerate() {
            let primary = id(&primaries[at % self.primaries]);
            self.wait_until("a replica knows its primary", || {
                let replicate = node.command(&["CLUSTER", "REPLICATE", &primary]);
                replicate == Reply::Text("OK".to_string())
            });
        }
        self.wait_until("every replica follows", || {
            replicas.iter().all(|node| {
                let info = node.command(&["INFO", "replication"]);
                info.field("master_link_status") == Some("up")
            })
        });
        self.wait_until_it_serves();
    }

    /// Until every running node says that every slot is served, and by whom.
    fn wait_until_it_serves(&self) {
        self.wait_until("the cluster serves every slot", || {
            let running = self.nodes.iter().filter(|node| node.runs());
            let agree = |node: &Redis| {
                let info = node.ask(&["CLUSTER", "INFO"]);
                info.is_ok_and(|info| {
                    info.field("cluster_state") == Some("ok")
                        && info.field("cluster_slots_ok") == Some(&SLOTS.to_string())
                })
            };
            running.into_iter().all(agree)
        });
    }

    fn move_keys(&self, slot: u16, from: &Redis, to: &Redis) {
        let slot = slot.to_string();
        let port = to.addr().port().to_string();
        loop {
            let keys = from.command(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
            let Reply::List(keys) = keys else {
                panic!("no keys: {keys:?}");
            };
            if keys.is_empty() {
                return;
            }
            for key in &keys {
                let moved = ["MIGRATE", "127.0.0.1", &port, key.text(), "0", "5000"];
                let answer = from.command(&moved);
                // `NOKEY` where the key ended meanwhile.
                let moved = matches!(&answer, Reply::Text(text) if text == "OK" || text == "NOKEY");
                assert!(moved, "a key stays: {answer:?}");
            }
        }
    }

    fn any(&self) -> &Redis {
        let mut nodes = self.nodes.iter();
        nodes.find(|node| node.runs()).expect("a node runs")
    }

    fn wait_until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let started = Instant::now();
        while !holds() {
            assert!(started.elapsed() < PATIENCE, "it never came that {what}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn node(arguments: &[&str]) -> Redis {
    let bus = port::free().to_string();
    let ours = [
        "--cluster-enabled",
        "yes",
        "--cluster-port",
        &bus,
        // How long until a node that is silent is held for dead.
        "--cluster-node-timeout",
        "1000",
        "--cluster-announce-ip",
        "127.0.0.1",
        "--repl-diskless-sync-delay",
        "0",
    ];
    Redis::start(&[&ours, arguments].concat())
}

fn id(node: &Redis) -> String {
    node.command(&["CLUSTER", "MYID"]).text().to_string()
}

fn ok(answer: Reply) {
    assert_eq!(answer, Reply::Text("OK".to_string()));
}

fn is(role: &Reply, wanted: &str) -> bool {
    matches!(role, Reply::List(items) if items.first().is_some_and(|name| name.text() == wanted))
}

/// `ID ADDRESS myself,master - 0 0 1 connected 0-5460 9000 [7-<-ID]`: the ranges of one's own.
fn own_slots(nodes: &str) -> impl Iterator<Item = std::ops::RangeInclusive<u16>> {
    let own = nodes.lines().find(|line| line.contains("myself"));
    let words = own.unwrap_or("").split(' ').skip(8);
    words.filter_map(|word| {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        Some(first.parse().ok()?..=last.parse().ok()?)
    })
}

fn follows(nodes: &str, primary: &str) -> bool {
    let own = nodes.lines().find(|line| line.contains("myself"));
    own.is_some_and(|line| line.split(' ').nth(3) == Some(primary))
}
