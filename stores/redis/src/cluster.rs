//! [`Cluster`]: which node serves a key, as far as is known.
//!
//! The driver has a client for clusters, which repeats commands on its own: a repeated question
//! needs a fresh revision, so a store cannot use it. This one follows what a node says (it did
//! nothing then) and leaves everything else to the caller.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use idemp::StoreError;
use redis::{ConnectionAddr, ConnectionInfo, Pipeline, Value};

use crate::fault::RedisFault;
use crate::link::lock;
use crate::node::Node;
use crate::options::Options;

pub(crate) const SLOTS: u16 = 16_384;
/// While slots migrate, redirections are followed; the whole map is read again so seldom.
const REFRESH_EVERY: Duration = Duration::from_millis(100);

pub(crate) struct Cluster {
    options: Arc<Options>,
    known: Mutex<Known>,
    refreshing: tokio::sync::Mutex<Option<Instant>>,
    stale: AtomicBool,
    turn: AtomicUsize,
}

#[derive(Default)]
struct Known {
    nodes: HashMap<Address, Arc<Node>>,
    /// By slot; empty before the first look.
    slots: Vec<Option<Arc<Node>>>,
}

/// A host and a port.
pub(crate) type Address = (String, u16);

impl Cluster {
    pub(crate) fn new(options: Arc<Options>) -> Self {
        Self {
            options,
            known: Mutex::default(),
            refreshing: tokio::sync::Mutex::default(),
            stale: AtomicBool::new(true),
            turn: AtomicUsize::new(0),
        }
    }

    /// The node that serves the key, by what is known.
    pub(crate) async fn node_of(&self, key: &[u8]) -> Result<Arc<Node>, StoreError> {
        let slot = usize::from(slot_of(key));
        if self.stale.load(Relaxed) {
            let refreshed = self.refresh().await;
            // What was known may serve while nobody tells.
            if lock(&self.known).slots.is_empty() {
                refreshed?;
            }
        }
        let node = lock(&self.known).slots.get(slot).cloned().flatten();
        if node.is_none() {
            self.doubt();
        }
        node.ok_or_else(|| RedisFault::Unserved.into())
    }

    /// Every node that serves a key, asked for anew.
    pub(crate) async fn all(&self) -> Result<Vec<Arc<Node>>, StoreError> {
        self.refresh().await?;
        Ok(lock(&self.known).nodes.values().cloned().collect())
    }

    /// What is known may be wrong: it is read again before the next question.
    pub(crate) fn doubt(&self) {
        self.stale.store(true, Relaxed);
    }

    /// The node that another one named: `3999 10.0.0.2:6381`, without a host where it is its own.
    pub(crate) fn named(&self, by: &Node, said: &str) -> Result<Arc<Node>, RedisFault> {
        let address = said
            .split(' ')
            .nth(1)
            .and_then(|text| text.rsplit_once(':'));
        let (host, port) = address.ok_or(RedisFault::Reply)?;
        let port = port.parse().map_err(|_| RedisFault::Reply)?;
        let host = if host.is_empty() { by.host() } else { host };
        Ok(self.node_at(&mut lock(&self.known), (host.into(), port)))
    }

    fn node_at(&self, known: &mut Known, address: Address) -> Arc<Node> {
        let make = || Arc::new(Node::new(vec![self.info(&address)], self.options.clone()));
        known
            .nodes
            .entry(address.clone())
            .or_insert_with(make)
            .clone()
    }

    /// How to connect there: as to the first node that was given.
    fn info(&self, (host, port): &Address) -> ConnectionInfo {
        let like = self.options.nodes[0].clone();
        let addr = match like.addr() {
            ConnectionAddr::TcpTls {
                insecure,
                tls_params,
                ..
            } => ConnectionAddr::TcpTls {
                host: host.clone(),
                port: *port,
                insecure: *insecure,
                tls_params: tls_params.clone(),
            },
            _ => ConnectionAddr::Tcp(host.clone(), *port),
        };
        like.set_addr(addr)
    }

    async fn refresh(&self) -> Result<(), StoreError> {
        let mut refreshed_at = self.refreshing.lock().await;
        if refreshed_at.is_some_and(|at| at.elapsed() < REFRESH_EVERY) {
            return Ok(());
        }
        self.stale.store(false, Relaxed);
        let mut last = StoreError::from(RedisFault::Unserved);
        for node in self.to_be_asked() {
            let mut commands = Pipeline::new();
            commands.cmd("CLUSTER").arg("SLOTS");
            let ranges = match node.link().ask(&commands, 1, false).await {
                Ok(replies) => ranges(&replies, node.host()),
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            match ranges {
                Ok(ranges) if !ranges.is_empty() => {
                    self.learn(ranges);
                    *refreshed_at = Some(Instant::now());
                    return Ok(());
                }
                Ok(_) => {}
                Err(fault) => last = fault.into(),
            }
        }
        self.doubt();
        // A pause also where nobody answered: the next question is not the next attempt.
        *refreshed_at = Some(Instant::now());
        Err(last)
    }

    /// Every node that is known, another one first each time: one of them may be behind the times.
    fn to_be_asked(&self) -> Vec<Arc<Node>> {
        let mut known = lock(&self.known);
        let given: Vec<_> = self.options.nodes.iter().filter_map(address).collect();
        for address in given {
            self.node_at(&mut known, address);
        }
        let mut nodes: Vec<_> = known.nodes.values().cloned().collect();
        let first = self.turn.fetch_add(1, Relaxed) % nodes.len().max(1);
        nodes.rotate_left(first);
        nodes
    }

    fn learn(&self, ranges: Vec<(u16, u16, Address)>) {
        let mut known = lock(&self.known);
        let mut slots = vec![None; usize::from(SLOTS)];
        let mut serving = HashMap::new();
        for (first, last, address) in ranges {
            let node = self.node_at(&mut known, address.clone());
            serving.insert(address, node.clone());
            slots[usize::from(first)..=usize::from(last)].fill(Some(node));
        }
        // Those that serve nothing are forgotten, and their connections closed.
        known.nodes = serving;
        known.slots = slots;
    }
}

fn address(info: &ConnectionInfo) -> Option<Address> {
    match info.addr() {
        ConnectionAddr::Tcp(host, port) => Some((host.clone(), *port)),
        ConnectionAddr::TcpTls { host, port, .. } => Some((host.clone(), *port)),
        _ => None,
    }
}

/// What `CLUSTER SLOTS` says: from which slot to which, and the primary that serves them.
fn ranges(replies: &[Value], asked: &str) -> Result<Vec<(u16, u16, Address)>, RedisFault> {
    let ranges = match replies {
        [Value::Array(ranges)] => ranges,
        [Value::ServerError(error)] => return Err(RedisFault::refused(error)),
        _ => return Err(RedisFault::Reply),
    };
    let number = |value: &Value| match value {
        Value::Int(number) => u16::try_from(*number).ok().filter(|slot| *slot < SLOTS),
        _ => None,
    };
    let range = |value: &Value| {
        let Value::Array(parts) = value else {
            return None;
        };
        let (first, last) = (number(parts.first()?)?, number(parts.get(1)?)?);
        let Value::Array(primary) = parts.get(2)? else {
            return None;
        };
        let host = match primary.first()? {
            Value::BulkString(host) if !host.is_empty() => String::from_utf8(host.clone()).ok()?,
            // Unknown to itself: it is where it was asked.
            _ => asked.to_string(),
        };
        let Value::Int(port) = primary.get(1)? else {
            return None;
        };
        (first <= last).then_some((first, last, (host, u16::try_from(*port).ok()?)))
    };
    ranges
        .iter()
        .map(|value| range(value).ok_or(RedisFault::Reply))
        .collect()
}

/// The slot of a key: of what stands in its first braces, if there is any, else of the whole.
fn slot_of(key: &[u8]) -> u16 {
    let braced = || {
        let open = key.iter().position(|byte| *byte == b'{')?;
        let behind = &key[open + 1..];
        let close = behind.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &behind[..close])
    };
    crc16(braced().unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        let mut crc = crc ^ (u16::from(*byte) << 8);
        for _ in 0..8 {
            crc = (crc << 1) ^ (0x1021 * (crc >> 15));
        }
        crc
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_slot_that_the_server_gives_it() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        // What CLUSTER KEYSLOT says.
        for (key, slot) in [
            (&b"foo"[..], 12182),
            (b"{user1000}.following", 3443),
            (b"{user1000}.followers", 3443),
            (b"foo{}{bar}", 8363),
            (b"foo{{bar}}zap", 4015),
            (b"foo{bar}{zap}", 5061),
        ] {
            assert_eq!(slot_of(key), slot, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn a_map_that_makes_no_sense_is_no_map() {
        let node = || Value::Array(vec![Value::BulkString(b"h".to_vec()), Value::Int(1)]);
        let map = |first, last| {
            let range = Value::Array(vec![Value::Int(first), Value::Int(last), node()]);
            ranges(&[Value::Array(vec![range])], "asked")
        };
        assert_eq!(map(0, 16_383).unwrap(), [(0, 16_383, ("h".into(), 1))]);
        for (first, last) in [(5, 4), (0, 16_384), (-1, 5)] {
            assert!(map(first, last).is_err(), "{first} to {last}");
        }
    }
}
