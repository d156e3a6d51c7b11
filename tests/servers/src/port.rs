//! Free ports on loopback.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

/// Below the ports that systems hand to outgoing connections. One of those could be taken by a
/// client while its server is down, or connect to itself.
const FIRST: u16 = 15_000;
const COUNT: u64 = 17_000;

/// Starts a server on a port that is free, and on the next where another process was quicker.
/// `start` hands back what the server said where it did not start.
pub(crate) fn claim(server: &str, mut start: impl FnMut(u16) -> Result<(), String>) {
    for _ in 0..10 {
        let Err(said) = start(free()) else { return };
        let taken = said.contains("Address already in use");
        assert!(taken, "{server} did not start:\n{said}");
    }
    panic!("{server} found no free port in 10 tries");
}

/// A port that nobody listens on. Another process may be quicker: a server that cannot have it
/// asks for the next.
pub(crate) fn free() -> u16 {
    for _ in 0..1000 {
        let random = RandomState::new().hash_one(0) % COUNT;
        let port = FIRST + random as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port on loopback in 1000 tries");
}
