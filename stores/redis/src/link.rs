//! [`Link`]: one connection to one primary, made anew when it breaks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use idemp::StoreError;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, Pipeline, RedisError,
    RedisResult, Value,
};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::fault::RedisFault;
use crate::options::Options;
use crate::script;
use crate::server::Server;
use crate::stream;

/// A connection to the first of `nodes` that is a primary.
pub(crate) struct Link {
    nodes: Vec<ConnectionInfo>,
    options: Arc<Options>,
    current: Mutex<Option<Connected>>,
    /// Held by the one caller that connects. How the last attempt failed, for those that waited.
    connecting: tokio::sync::Mutex<Option<(Instant, RedisFault)>>,
}

/// A connection, and what was found out about the server behind it.
#[derive(Clone)]
struct Connected {
    connection: MultiplexedConnection,
    known: Arc<Known>,
}

struct Known {
    driving: Option<Driving>,
    made_at: Instant,
    /// When a caller left before its answer came, and none came since: so many milliseconds behind
    /// `made_at`, and 1 more. Else 0.
    left_at: AtomicU64,
    clustered: bool,
    granting: Mutex<Granting>,
}

impl Known {
    /// Whether the server's end of it was seen, as far as its task is known.
    fn has_ended(&self) -> bool {
        let driving = self.driving.as_ref();
        driving.is_some_and(|driving| driving.0.is_finished())
    }

    /// Whether nothing came for so long since a caller left.
    fn is_silent_for(&self, span: Duration) -> bool {
        match self.left_at.load(Relaxed) {
            0 => false,
            at => self.made_at.elapsed() >= span.saturating_add(Duration::from_millis(at)),
        }
    }
}

/// A caller that waits for an answer. Callers that leave sooner than an answer is late would never
/// be told that it is, and a connection that is silent would be kept.
struct Waiting<'a>(&'a Known);

impl Waiting<'_> {
    fn until<T>(self, answer: &RedisResult<T>) {
        if answer.is_ok() && self.0.left_at.load(Relaxed) != 0 {
            self.0.left_at.store(0, Relaxed);
        }
        std::mem::forget(self);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let now = self.0.made_at.elapsed().as_millis() as u64 + 1;
        // The first that left counts.
        let _ = (self.0.left_at).compare_exchange(0, now, Relaxed, Relaxed);
    }
}

/// The task that reads and writes. It ends when nobody holds the connection any more, also where
/// replies are still due.
struct Driving(JoinHandle<()>);

impl Drop for Driving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Whether leases may be granted there.
struct Granting {
    refused: Option<RedisFault>,
    checked_at: Instant,
}

impl Link {
    pub(crate) fn new(nodes: Vec<ConnectionInfo>, options: Arc<Options>) -> Self {
        let (current, connecting) = Default::default();
        Self {
            nodes,
            options,
            current,
            connecting,
        }
    }

    /// Whether the server behind it is a node of a cluster.
    pub(crate) async fn is_clustered(&self) -> Result<bool, StoreError> {
        Ok(self.connected().await?.known.clustered)
    }

    /// Sends the commands in one go and gives all `count` replies, errors of the server among them.
    /// Where they may grant a lease, only to a server that does not evict.
    pub(crate) async fn ask(
        &self,
        commands: &Pipeline,
        count: usize,
        granting: bool,
    ) -> Result<Vec<Value>, StoreError> {
        let mut connected = self.connected().await?;
        if granting {
            self.check(&mut connected).await?;
        }
        let waiting = Waiting(&connected.known);
        let connection = &mut connected.connection;
        let replies = connection.send_packed_commands(commands, 0, count).await;
        waiting.until(&replies);
        match replies {
            Ok(replies) if replies.len() == count => Ok(replies),
            Ok(_) => Err(self.broken(&connected, RedisFault::Reply)),
            Err(error) => Err(self.broken(&connected, error.into())),
        }
    }

    /// Makes sure that the server does not evict, as far as was seen in the last while.
    pub(crate) async fn may_grant(&self) -> Result<(), StoreError> {
        let mut connected = self.connected().await?;
        self.check(&mut connected).await
    }

    async fn check(&self, connected: &mut Connected) -> Result<(), StoreError> {
        {
            let mut granting = lock(&connected.known.granting);
            if granting.checked_at.elapsed() < self.options.check_every {
                return granting.refused.clone().map_or(Ok(()), |r| Err(r.into()));
            }
            // This caller asks. The others go on with what was seen last.
            granting.checked_at = Instant::now();
        }
        let waiting = Waiting(&connected.known);
        let connection = &mut connected.connection;
        let info = connection.send_packed_command(&redis::cmd("INFO")).await;
        waiting.until(&info);
        let info = info
            .map_err(RedisFault::from)
            .and_then(|info| Server::read(&info))
            .and_then(|server| server.check(&self.options).map(|()| server));
        let refused = match info {
            Ok(server) => server.refusal(&self.options),
            Err(fault) => return Err(self.broken(connected, fault)),
        };
        lock(&connected.known.granting).refused = refused.clone();
        refused.map_or(Ok(()), |refused| Err(refused.into()))
    }

    /// The server does not know the script any more: somebody emptied its memory of scripts.
    pub(crate) async fn load_scripts(&self) -> Result<(), StoreError> {
        let (commands, count) = script::load();
        let replies = self.ask(&commands, count, false).await?;
        Ok(script::loaded(&replies)?)
    }

    /// Gives the connection up, as far as nobody did yet.
    pub(crate) fn give_up(&self) {
        *lock(&self.current) = None;
    }

    fn broken(&self, connected: &Connected, fault: RedisFault) -> StoreError {
        let mut current = lock(&self.current);
        let same = |other: &Connected| Arc::ptr_eq(&other.known, &connected.known);
        if current.as_ref().is_some_and(same) {
            *current = None;
        }
        fault.into()
    }

    /// The connection, unless it is known to have ended, or seems to: a server closes those that
    /// are idle, a restart ends all of them at once, and a router that forgot one says nothing.
    fn current(&self) -> Option<Connected> {
        let silent_for = self.options.reply_within();
        let current = lock(&self.current).clone();
        current.filter(|Connected { known, .. }| {
            !known.has_ended() && !known.is_silent_for(silent_for)
        })
    }

    async fn connected(&self) -> Result<Connected, StoreError> {
        if let Some(connected) = self.current() {
            return Ok(connected);
        }
        let asked_at = Instant::now();
        let mut failed = self.connecting.lock().await;
        // Another caller connected, or failed to, while this one waited.
        if let Some(connected) = self.current() {
            return Ok(connected);
        }
        if let Some((_, fault)) = failed.as_ref().filter(|(at, _)| *at >= asked_at) {
            return Err(fault.clone().into());
        }
        match self.connect().await {
            Ok(connected) => {
                *lock(&self.current) = Some(connected.clone());
                Ok(connected)
            }
            Err(fault) => {
                *failed = Some((Instant::now(), fault.clone()));
                Err(fault.into())
            }
        }
    }

    async fn connect(&self) -> Result<Connected, RedisFault> {
        let mut last = RedisFault::Unserved;
        for node in &self.nodes {
            match timeout(self.options.connect_within, self.connect_to(node)).await {
                Ok(Ok(connected)) => return Ok(connected),
                // A replica says less than any other reason why there is no primary.
                Ok(Err(RedisFault::Replica)) if self.nodes.len() > 1 => {}
                Ok(Err(fault)) => last = fault,
                Err(_) => last = RedisFault::Driver(timed_out()),
            }
        }
        Err(last)
    }

    async fn connect_to(&self, node: &ConnectionInfo) -> Result<Connected, RedisFault> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.options.connect_within))
            .set_response_timeout(Some(self.options.reply_within()));
        let (mut connection, driving) = match node.addr() {
            ConnectionAddr::Tcp(host, port) => {
                let stream = stream::connect(host, *port)
                    .await
                    .map_err(RedisError::from)?;
                let settings = node.redis_settings();
                let (connection, driver) =
                    MultiplexedConnection::new_with_config(settings, stream, config).await?;
                (connection, Some(Driving(tokio::spawn(driver))))
            }
            _ => {
                let client = Client::open(node.clone())?;
                let connection = client.get_multiplexed_async_connection_with_config(&config);
                (connection.await?, None)
            }
        };
        let (mut commands, scripts) = script::load();
        commands.cmd("INFO");
        let replies = connection
            .send_packed_commands(&commands, 0, scripts + 1)
            .await?;
        let (scripts, info) = replies.split_at_checked(scripts).ok_or(RedisFault::Reply)?;
        let server = Server::read(info.first().ok_or(RedisFault::Reply)?)?;
        server.check(&self.options)?;
        script::loaded(scripts)?;
        Ok(Connected {
            connection,
            known: Arc::new(Known {
                driving,
                made_at: Instant::now(),
                left_at: AtomicU64::new(0),
                clustered: server.clustered,
                granting: Mutex::new(Granting {
                    refused: server.refusal(&self.options),
                    checked_at: Instant::now(),
                }),
            }),
        })
    }
}

fn timed_out() -> redis::RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

/// Nothing is left half done under these locks.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
