//! What a server can do, apart from what its clients cost: the bytes that a client sent are
//! recorded, and sent again by one that only throws the replies away.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Passes everything on to a server and keeps what its one client sent.
pub struct Recorder {
    addr: SocketAddr,
    sent: Arc<Mutex<Vec<u8>>>,
}

impl Recorder {
    /// Takes one connection.
    ///
    /// # Panics
    /// Where loopback has no port left.
    #[must_use]
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port on loopback");
        let addr = listener.local_addr().expect("it is bound");
        let sent = Arc::new(Mutex::new(Vec::new()));
        let keep = sent.clone();
        thread::spawn(move || {
            let (client, _) = listener.accept()?;
            let server = TcpStream::connect(server)?;
            server.set_nodelay(true)?;
            client.set_nodelay(true)?;
            let (replies, back) = (server.try_clone()?, client.try_clone()?);
            thread::spawn(move || pass(replies, back, |_| ()));
            pass(client, server, |bytes| lock(&keep).extend_from_slice(bytes))
        });
        Self { addr, sent }
    }

    /// Where a client connects.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What was sent since this was last asked.
    #[must_use]
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *lock(&self.sent))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics under it")
}

fn pass(mut from: TcpStream, mut to: TcpStream, keep: impl Fn(&[u8])) -> std::io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let bytes = match from.read(&mut buffer)? {
            0 => return to.shutdown(std::net::Shutdown::Write),
            length => &buffer[..length],
        };
        keep(bytes);
        to.write_all(bytes)?;
    }
}

/// Sends the commands as fast as they are taken, and returns when the last is answered.
///
/// # Panics
/// Where the server closes the connection.
pub fn blast(server: SocketAddr, commands: &[u8]) {
    const END: &[u8] = b"that was all\r\n";
    let mut to = TcpStream::connect(server).expect("the server is there");
    let mut from = to.try_clone().expect("a handle more");
    let reader = thread::spawn(move || {
        let (mut buffer, mut tail) = (vec![0; 1 << 18], Vec::new());
        while !tail.ends_with(END) {
            let length = from.read(&mut buffer).expect("the server answers");
            assert!(length > 0, "the server answers all of it");
            tail.extend_from_slice(&buffer[length.saturating_sub(END.len())..length]);
            tail.drain(..tail.len().saturating_sub(END.len()));
        }
    });
    to.write_all(commands).expect("the server reads");
    to.write_all(b"*2\r\n$4\r\nECHO\r\n$12\r\nthat was all\r\n")
        .expect("the server reads");
    reader.join().expect("all is answered");
}
