//! The proxy does to replies what it is told, and lets every request arrive.

use idemp_servers::{Proxy, Redis};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(20);

/// A client that can only count.
struct Client(TcpStream);

impl Client {
    fn of(proxy: &Proxy) -> Self {
        let stream = TcpStream::connect(proxy.addr()).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Self(stream)
    }

    fn count(&mut self, key: &str) {
        let request = format!("INCR {key}\r\n");
        self.0.write_all(request.as_bytes()).unwrap();
    }

    /// What comes, up to `length` bytes or the end of the connection.
    fn hear(&mut self, length: usize) -> String {
        let mut heard = Vec::new();
        let mut buffer = [0; 64];
        while heard.len() < length {
            match self.0.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => heard.extend(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => panic!("{error}"),
            }
        }
        String::from_utf8(heard).unwrap()
    }
}

/// The value of a key that is counted up by a request whose reply is not heard.
fn counted(key: &str, wanted: &str) -> bool {
    let started = Instant::now();
    while started.elapsed() < LIMIT {
        if Redis::shared().command(&["GET", key]).text() == wanted {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

#[test]
fn a_reply_breaks_off_where_it_was_told_and_only_once() {
    let proxy = Proxy::to(Redis::shared().addr());
    let mut client = Client::of(&proxy);
    let mut other = Client::of(&proxy);
    client.count("broken");
    assert_eq!(client.hear(4), ":1\r\n");
    proxy.cut_after(2);
    client.count("broken");
    assert_eq!(client.hear(4), ":2");
    assert_eq!(proxy.cuts(), 1);
    other.count("broken");
    assert_eq!(other.hear(4), ":3\r\n");
}

#[test]
fn a_request_arrives_whose_answer_is_lost() {
    let proxy = Proxy::to(Redis::shared().addr());
    let mut client = Client::of(&proxy);
    proxy.cut_after(0);
    client.count("lost");
    assert_eq!(client.hear(4), "");
    assert!(proxy.wait_for_cuts(1, LIMIT));
    assert!(counted("lost", "1"));

    let mut client = Client::of(&proxy);
    proxy.lose();
    client.count("lost");
    assert!(counted("lost", "2"));
    proxy.cut();
    assert_eq!(client.hear(4), "");
}

#[test]
fn replies_are_held_until_told_otherwise() {
    let proxy = Proxy::to(Redis::shared().addr());
    let mut client = Client::of(&proxy);
    proxy.hold();
    client.count("held");
    assert!(counted("held", "1"));
    proxy.pass();
    assert_eq!(client.hear(4), ":1\r\n");
}

#[test]
fn replies_come_late_by_what_was_asked() {
    let proxy = Proxy::to(Redis::shared().addr());
    let mut client = Client::of(&proxy);
    let late = Duration::from_millis(80);
    proxy.delay(late);
    let asked = Instant::now();
    client.count("late");
    assert_eq!(client.hear(4), ":1\r\n");
    assert!(asked.elapsed() >= late);
}

#[test]
fn a_proxy_to_a_server_that_is_down_refuses() {
    let mut redis = Redis::start(&[]);
    let proxy = Proxy::to(redis.addr());
    redis.kill();
    assert_eq!(Client::of(&proxy).hear(1), "");
    redis.start_again();
    let mut client = Client::of(&proxy);
    client.count("again");
    assert_eq!(client.hear(4), ":1\r\n");
}
