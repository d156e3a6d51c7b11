//! A client that sends what it is told, byte for byte, and keeps what came back.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::PATIENCE;
use crate::case::{Request, latin1};

/// A request on a connection of its own. Dropped, it closes the connection.
pub(crate) struct Exchange {
    received: watch::Receiver<Received>,
    running: JoinHandle<()>,
    head_only: bool,
}

#[derive(Default)]
struct Received {
    bytes: Vec<u8>,
    ended: bool,
}

/// An answer as it came, header names as they were written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    /// Whether all of it came.
    pub(crate) whole: bool,
    /// Whether it can have no body, whatever its length says.
    pub(crate) head_only: bool,
}

impl Exchange {
    pub(crate) fn begin(address: SocketAddr, request: &Request) -> Self {
        let (bytes, head_only) = (encoded(request), request.method == "HEAD");
        let (sender, received) = watch::channel(Received::default());
        let running = tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            // A server may answer and close before it has read everything.
            _ = stream.write_all(&bytes).await;
            let mut piece = vec![0; 16 * 1024];
            while let Ok(length @ 1..) = stream.read(&mut piece).await {
                sender.send_modify(|received| received.bytes.extend_from_slice(&piece[..length]));
            }
            sender.send_modify(|received| received.ended = true);
        });
        Self {
            received,
            running,
            head_only,
        }
    }

    /// The answer, when the server has closed the connection.
    pub(crate) async fn answer(mut self) -> Option<Answer> {
        let ended = self.received.wait_for(|received| received.ended);
        let ended = tokio::time::timeout(PATIENCE, ended).await;
        let received = ended.expect("an answer in time").expect("the task lives");
        parsed(&received.bytes, self.head_only)
    }

    /// Waits until the body begins so.
    pub(crate) async fn received(&mut self, body: &[u8]) {
        let head_only = self.head_only;
        let begins = |received: &Received| {
            let answer = parsed(&received.bytes, head_only);
            answer.is_some_and(|answer| answer.body.starts_with(body))
        };
        let begun = self.received.wait_for(begins);
        let begun = tokio::time::timeout(PATIENCE, begun).await;
        _ = begun
            .expect("the beginning of the body in time")
            .expect("the task lives");
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn encoded(request: &Request) -> Vec<u8> {
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.path).into_bytes();
    let mut line = |name: &str, value: &[u8]| {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    };
    line("host", b"localhost");
    line("connection", b"close");
    if let Some(user) = &request.user {
        line("x-user", user.as_bytes());
    }
    if let Some(content_type) = &request.content_type {
        line("content-type", &latin1(content_type));
    }
    for key in request.key.iter().flat_map(|keys| keys.lines()) {
        line("idempotency-key", &latin1(&key));
    }
    for (name, value) in &request.headers {
        line(name, &latin1(value));
    }
    let body = match &request.chunks {
        Some(pieces) => {
            line("transfer-encoding", b"chunked");
            let pieces = pieces.iter();
            let chunks = pieces.map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len()));
            chunks
                .collect::<String>()
                .into_bytes()
                .into_iter()
                .chain(*b"0\r\n\r\n")
                .collect()
        }
        None => {
            let body = request.body.bytes();
            let length = request
                .length
                .clone()
                .unwrap_or_else(|| body.len().to_string());
            line("content-length", length.as_bytes());
            body
        }
    };
    head.extend_from_slice(b"\r\n");
    head.extend_from_slice(&body);
    head
}

/// What there is of an answer; `None` without a whole head.
fn parsed(bytes: &[u8], head_only: bool) -> Option<Answer> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, rest) = (&bytes[..end], &bytes[end + 4..]);
    let mut lines = head.split(|c| *c == b'\n').map(<[u8]>::trim_ascii);
    let status = std::str::from_utf8(lines.next()?).expect("a status line");
    let status = status.split(' ').nth(1).expect("a status");
    let status = status.parse().expect("a number");
    let headers: Vec<_> = lines
        .map(|line| {
            let colon = line.iter().position(|c| *c == b':').expect("a colon");
            let name = String::from_utf8(line[..colon].to_vec()).expect("a name");
            (name, line[colon + 1..].trim_ascii().to_vec())
        })
        .collect();
    let value = |name: &str| {
        let found = headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    };
    let (body, whole) = if head_only || matches!(status, 204 | 304) {
        (rest.to_vec(), true)
    } else if value("transfer-encoding").is_some() {
        unchunked(rest)
    } else if let Some(length) = value("content-length") {
        let length: usize = length.parse().expect("a length");
        (rest.to_vec(), rest.len() == length)
    } else {
        (rest.to_vec(), true)
    };
    Some(Answer {
        status,
        headers,
        body,
        whole,
        head_only,
    })
}

/// The chunks so far, and whether the last one came.
fn unchunked(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else {
            return (body, false);
        };
        let length = std::str::from_utf8(&rest[..end]).expect("a length");
        let length = usize::from_str_radix(length, 16).expect("in hex");
        if length == 0 {
            return (body, true);
        }
        let Some(piece) = rest.get(end + 2..end + 2 + length) else {
            return (body, false);
        };
        body.extend_from_slice(piece);
        rest = rest.get(end + 4 + length..).unwrap_or_default();
    }
}
