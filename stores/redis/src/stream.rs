//! [`Gathering`]: what many callers send at a time is written in one go.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;

/// After a wait for which nothing more came, so many writes do not wait.
const PAUSE: u32 = 15;

/// A stream that is written to when every task that was ready has had its turn.
///
/// The driver's task wakes with the first command that comes, and would write it at once: but the
/// replies that a server sends together wake many callers, and each of their next commands would
/// be a packet of its own, which costs either side more than all else that it does for it.
pub(crate) struct Gathering<S> {
    stream: S,
    /// How many bytes there were when the turn was given away for the write that is next.
    waited: Option<usize>,
    /// So many writes do not wait.
    hurried: u32,
}

/// Connects to the first address of the host that answers.
pub(crate) async fn connect(host: &str, port: u16) -> io::Result<Gathering<TcpStream>> {
    let mut attempts = JoinSet::new();
    for address in lookup_host((host, port)).await? {
        attempts.spawn(TcpStream::connect(address));
    }
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    while let Some(attempt) = attempts.join_next().await {
        match attempt.map_err(io::Error::other).flatten() {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(Gathering::new(stream));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl<S> Gathering<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            waited: None,
            hurried: 0,
        }
    }

    /// Whether it is time to write these bytes. If not, the turn is given away, once a write.
    fn gathered(&mut self, bytes: usize, cx: &mut Context<'_>) -> bool {
        match self.waited {
            // The rest of a write, or one that waited.
            Some(before) => {
                if bytes == before {
                    self.hurried = PAUSE;
                }
            }
            None if self.hurried > 0 => self.hurried -= 1,
            None => {
                self.waited = Some(bytes);
                // A task that wakes itself comes behind all that are ready now.
                cx.waker().wake_by_ref();
                return false;
            }
        }
        true
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathering<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.gathered(bytes.len(), cx) {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.gathered(bytes.iter().map(|part| part.len()).sum(), cx) {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Comes when all is written: what is written next is gathered anew.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.waited = None;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}
