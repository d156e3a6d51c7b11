//! [`Gathering`]: what many callers send at a time is written in one go.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;

/// After waits for which nothing more came, at most so many writes do not wait.
const LONGEST_PAUSE: u32 = 16;

/// A stream that is written to when every task that was ready has had its turn.
///
/// The driver's task wakes with the first command that comes, and would write it at once: but the
/// replies that a server sends together wake many callers, and each of their next commands would
/// be a packet of its own, which costs either side more than all else that it does for it.
pub(crate) struct Gathering<S> {
    stream: S,
    /// How many bytes there were when the turn was given away for the write that is next.
    waited: Option<usize>,
    /// So many writes do not wait, and twice as many when the next wait is in vain, too.
    hurried: u32,
    pause: u32,
}

/// Connects to the first address of the host that answers.
pub(crate) async fn connect(host: &str, port: u16) -> io::Result<Gathering<TcpStream>> {
    let mut attempts = JoinSet::new();
    for address in lookup_host((host, port)).await? {
        attempts.spawn(TcpStream::connect(address));
    }
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    while let Some(attempt) = attempts.join_next().await {
        match attempt {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(Gathering::new(stream));
            }
            Ok(Err(error)) => last = error,
            Err(panicked) => last = panicked.into(),
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
            pause: 1,
        }
    }

    /// Whether it is time to write these bytes. If not, the turn is given away, once a write.
    fn gathered(&mut self, bytes: usize, cx: &mut Context<'_>) -> bool {
        match self.waited {
            Some(before) if bytes > before => self.pause = 1,
            Some(before) if bytes == before => {
                self.hurried = self.pause;
                self.pause = LONGEST_PAUSE.min(2 * self.pause);
            }
            // The rest of a write.
            Some(_) => {}
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use idemp_servers::Redis;
    use redis::aio::MultiplexedConnection;
    use redis::{Client, Value};

    use super::*;

    const CALLERS: usize = 16;
    const EACH: usize = 50;

    /// A stream whose writes are counted.
    struct Counted(TcpStream, Arc<AtomicUsize>);

    impl AsyncWrite for Counted {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.1.fetch_add(1, Relaxed);
            Pin::new(&mut self.0).poll_write(cx, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    impl AsyncRead for Counted {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, buffer)
        }
    }

    /// How many writes it takes when so many callers ask at the same time, again and again.
    async fn writes<S>(server: &Redis, callers: usize, over: impl FnOnce(Counted) -> S) -> usize
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let client = Client::open(server.url()).unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let stream = TcpStream::connect(server.addr()).await.unwrap();
        let stream = over(Counted(stream, count.clone()));
        let settings = client.get_connection_info().redis_settings().clone();
        let (connection, driver) =
            MultiplexedConnection::new_with_config(&settings, stream, Default::default())
                .await
                .unwrap();
        let driver = tokio::spawn(driver);
        let before = count.load(Relaxed);
        let mut asking = JoinSet::new();
        for caller in 0..callers {
            let mut connection = connection.clone();
            asking.spawn(async move {
                for n in 0..EACH {
                    let mut echo = redis::cmd("ECHO");
                    let said = format!("{caller} {n}").into_bytes();
                    let reply = connection.send_packed_command(echo.arg(&said)).await;
                    assert_eq!(reply.unwrap(), Value::BulkString(said));
                }
            });
        }
        asking.join_all().await;
        driver.abort();
        count.load(Relaxed) - before
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_many_ask_at_a_time_is_written_together_and_what_one_asks_at_once() {
        let server = Redis::start(&[]);
        let asked = CALLERS * EACH;
        let together = writes(&server, CALLERS, Gathering::new).await;
        assert!(together <= asked / 4, "{together} writes for {asked}");
        let apart = writes(&server, CALLERS, |stream| stream).await;
        assert!(apart >= 2 * together, "{together} writes, plain {apart}");
        assert_eq!(writes(&server, 1, Gathering::new).await, EACH);
    }

    #[tokio::test]
    async fn a_caller_alone_waits_for_others_more_and_more_seldom() {
        let server = Redis::start(&[]);
        let stream = TcpStream::connect(server.addr()).await.unwrap();
        let mut alone = Gathering::new(stream);
        let mut waits = 0;
        for _ in 0..100 {
            std::future::poll_fn(|cx| {
                let written = Pin::new(&mut alone).poll_write(cx, b"PING\r\n");
                waits += u32::from(written.is_pending());
                written.map(Result::unwrap)
            })
            .await;
            let flushed = std::future::poll_fn(|cx| Pin::new(&mut alone).poll_flush(cx));
            flushed.await.unwrap();
        }
        assert!((5..=12).contains(&waits), "{waits} waits");
    }
}
