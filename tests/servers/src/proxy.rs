//! A connection that breaks on command.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// A proxy on loopback, between clients and one server. Requests always pass, at once; replies
/// pass, come late, are lost or break off, as told. It starts with letting everything pass.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    to: SocketAddr,
    state: Mutex<State>,
    /// Told whenever the state changes.
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    replies: Replies,
    /// Both ends of every connection that is open.
    open: Vec<(u64, TcpStream, TcpStream)>,
    /// Connections so far.
    count: u64,
    /// Connections that were cut on command.
    cuts: u64,
    /// Connections up to this number hear nothing more.
    forgotten: u64,
    /// Pieces of replies that are held now, one a connection.
    held: usize,
    closed: bool,
}

#[derive(Debug, Clone, Copy)]
enum Replies {
    Pass,
    Late(Duration),
    Held,
    Lost,
    CutAfter(usize),
}

impl Proxy {
    /// A proxy to the server at `addr`.
    ///
    /// # Panics
    /// Where loopback has no port left.
    #[must_use]
    pub fn to(addr: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, crate::port::free()))
            .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .expect("a port on loopback");
        let proxy = Self {
            addr: listener.local_addr().expect("it is bound"),
            shared: Arc::new(Shared {
                to: addr,
                state: Mutex::new(State {
                    replies: Replies::Pass,
                    open: Vec::new(),
                    count: 0,
                    cuts: 0,
                    forgotten: 0,
                    held: 0,
                    closed: false,
                }),
                changed: Condvar::new(),
            }),
        };
        let shared = proxy.shared.clone();
        thread::spawn(move || shared.accept(&listener));
        proxy
    }

    /// Where clients connect.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Lets every reply pass from now on, those that were held first.
    pub fn pass(&self) {
        self.shared.set(Replies::Pass);
    }

    /// Every piece of a reply comes late by `by`.
    pub fn delay(&self, by: Duration) {
        self.shared.set(Replies::Late(by));
    }

    /// Holds every reply until told otherwise. What is held when its connection is cut is lost.
    pub fn hold(&self) {
        self.shared.set(Replies::Held);
    }

    /// Every reply is lost: requests arrive, and their clients hear nothing.
    pub fn lose(&self) {
        self.shared.set(Replies::Lost);
    }

    /// The connections that are open now hear nothing more, and do not end: so does a router that
    /// forgot them. New ones are served.
    pub fn forget(&self) {
        let mut state = self.shared.lock();
        state.forgotten = state.count;
    }

    /// Lets `bytes` more of replies pass, over all connections together, and then cuts the one
    /// that they came through; the others and new ones go on. With 0 the next request arrives,
    /// and its answer is lost.
    pub fn cut_after(&self, bytes: usize) {
        self.shared.set(Replies::CutAfter(bytes));
    }

    /// Cuts every open connection now.
    pub fn cut(&self) {
        let mut state = self.shared.lock();
        let open = std::mem::take(&mut state.open);
        state.cuts += open.len() as u64;
        for (_, client, server) in &open {
            close(client, server);
        }
        self.shared.changed.notify_all();
    }

    /// How many connections were cut on command.
    #[must_use]
    pub fn cuts(&self) -> u64 {
        self.shared.lock().cuts
    }

    /// Waits until that many connections were cut since the proxy began, at most `limit`, and says
    /// whether they were.
    #[must_use]
    pub fn wait_for_cuts(&self, cuts: u64, limit: Duration) -> bool {
        self.shared.wait_for(limit, |state| state.cuts >= cuts)
    }

    /// Waits until replies are held on that many connections, at most `limit`, and says whether
    /// they are.
    #[must_use]
    pub fn wait_for_held(&self, connections: usize, limit: Duration) -> bool {
        self.shared
            .wait_for(limit, |state| state.held >= connections)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.cut();
        // Wakes the thread that accepts, so that it sees the end.
        let _ = TcpStream::connect(self.addr);
    }
}

impl State {
    fn is_open(&self, number: u64) -> bool {
        self.open.iter().any(|(other, ..)| *other == number)
    }

    fn holds(&self, number: u64) -> bool {
        matches!(self.replies, Replies::Held) && self.is_open(number)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with it")
    }

    fn set(&self, replies: Replies) {
        self.lock().replies = replies;
        self.changed.notify_all();
    }

    fn wait_for(&self, limit: Duration, holds: impl Fn(&State) -> bool) -> bool {
        let wait = self
            .changed
            .wait_timeout_while(self.lock(), limit, |state| !holds(state));
        wait.is_ok_and(|(state, _)| holds(&state))
    }

    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.lock().closed {
                return;
            }
            // A server that is down refuses its clients.
            let Ok(client) = client else { continue };
            if let Ok(server) = TcpStream::connect(self.to) {
                self.connect(client, server);
            }
        }
    }

    fn connect(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let again = |stream: &TcpStream| stream.try_clone().expect("another handle");
        let number = {
            let mut state = self.lock();
            if state.closed {
                return;
            }
            state.count += 1;
            let number = state.count;
            state.open.push((number, again(&client), again(&server)));
            number
        };
        let requests = (again(&client), again(&server));
        thread::spawn(move || copy_requests(requests.0, requests.1));
        let shared = self.clone();
        thread::spawn(move || {
            shared.copy_replies(number, &server, &client);
            close(&client, &server);
            shared.lock().open.retain(|(other, ..)| *other != number);
        });
    }

    fn copy_replies(&self, number: u64, mut from: &TcpStream, mut to: &TcpStream) {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = match from.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(read) => read,
            };
            let arrived = Instant::now();
            let pass = match self.admit(number, read, arrived) {
                Admitted::All => read,
                Admitted::None => continue,
                Admitted::ThenCut(bytes) => {
                    let _ = to.write_all(&buffer[..bytes]);
                    return;
                }
            };
            if to.write_all(&buffer[..pass]).is_err() {
                return;
            }
        }
    }

    /// Decides, once it can be decided, how much of a piece of a reply passes.
    fn admit(&self, number: u64, read: usize, arrived: Instant) -> Admitted {
        let mut state = self.lock();
        loop {
            if !state.is_open(number) {
                return Admitted::ThenCut(0);
            }
            if number <= state.forgotten {
                return Admitted::None;
            }
            match state.replies {
                Replies::Pass => return Admitted::All,
                Replies::Lost => return Admitted::None,
                Replies::CutAfter(bytes) if bytes > read => {
                    state.replies = Replies::CutAfter(bytes - read);
                    return Admitted::All;
                }
                Replies::CutAfter(bytes) => {
                    state.replies = Replies::Pass;
                    state.cuts += 1;
                    self.changed.notify_all();
                    return Admitted::ThenCut(bytes);
                }
                Replies::Late(by) => {
                    let left = by.saturating_sub(arrived.elapsed());
                    if left.is_zero() {
                        return Admitted::All;
                    }
                    let wait = self.changed.wait_timeout(state, left);
                    state = wait.expect("no thread panics with it").0;
                }
                Replies::Held => {
                    state.held += 1;
                    self.changed.notify_all();
                    let waits = |state: &mut State| state.holds(number);
                    let wait = self.changed.wait_while(state, waits);
                    state = wait.expect("no thread panics with it");
                    state.held -= 1;
                }
            }
        }
    }
}

enum Admitted {
    All,
    None,
    ThenCut(usize),
}

fn copy_requests(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    // The server is told that its client is gone, and may still answer.
    let _ = to.shutdown(Shutdown::Write);
}

fn close(client: &TcpStream, server: &TcpStream) {
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}
