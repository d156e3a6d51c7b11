//! [`Node`]: one primary, asked over one connection or several in turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use idemp::StoreError;
use redis::{ConnectionAddr, ConnectionInfo, Pipeline, ServerError, ServerErrorKind, Value};

use crate::cluster::Cluster;
use crate::fault::RedisFault;
use crate::link::Link;
use crate::options::Options;
use crate::question::{Answer, Question};
use crate::script;

/// A question is sent on from node to node at most so often.
const HOPS: usize = 8;

pub(crate) struct Node {
    host: String,
    links: Box<[Link]>,
    turn: AtomicUsize,
}

/// The servers of a store.
pub(crate) enum Servers {
    One(Arc<Node>),
    Cluster(Cluster),
}

impl Node {
    pub(crate) fn new(infos: Vec<ConnectionInfo>, options: Arc<Options>) -> Self {
        let host = match infos.first().map(ConnectionInfo::addr) {
            Some(ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. }) => {
                host.clone()
            }
            _ => String::new(),
        };
        let link = |_| Link::new(infos.clone(), options.clone());
        Self {
            host,
            links: (0..options.connections()).map(link).collect(),
            turn: AtomicUsize::new(0),
        }
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn link(&self) -> &Link {
        match &*self.links {
            [only] => only,
            links => &links[self.turn.fetch_add(1, Relaxed) % links.len()],
        }
    }
}

impl Servers {
    pub(crate) async fn connected(options: Arc<Options>) -> Result<Self, StoreError> {
        let node = Arc::new(Node::new(options.nodes.clone(), options.clone()));
        if !node.link().is_clustered().await? {
            node.link().may_grant().await?;
            return Ok(Self::One(node));
        }
        let cluster = Cluster::new(options);
        for node in cluster.all().await? {
            node.link().may_grant().await?;
        }
        Ok(Self::Cluster(cluster))
    }

    /// Asks the server that serves the key, follows where it says that another one does, and
    /// nothing else: a question may be repeated only where it is certain that it was not heard.
    pub(crate) async fn ask(&self, question: &Question<'_>) -> Result<Answer, StoreError> {
        let leaving = Leaving(self);
        let answer = self.follow(question).await;
        std::mem::forget(leaving);
        answer
    }

    async fn follow(&self, question: &Question<'_>) -> Result<Answer, StoreError> {
        let (mut node, question) = match self {
            Self::One(node) => (node.clone(), question),
            Self::Cluster(cluster) => (cluster.node_of(question.key()).await?, &question.whole()),
        };
        let mut asking = false;
        for _ in 0..HOPS {
            let link = node.link();
            let asked = ask_one(link, question, asking).await;
            let replies = asked.inspect_err(|_| self.doubt())?;
            let Some(error) = first_error(&replies) else {
                return Ok(question.answer(replies)?);
            };
            if question.may_have_changed(&replies) {
                link.give_up();
                self.doubt();
                return Err(RedisFault::refused(error).into());
            }
            match (self, error.kind(), error.details()) {
                (Self::Cluster(cluster), Some(ServerErrorKind::Moved), Some(said)) => {
                    (node, asking) = (cluster.named(&node, said)?, false);
                    cluster.doubt();
                }
                (Self::Cluster(cluster), Some(ServerErrorKind::Ask), Some(said)) => {
                    (node, asking) = (cluster.named(&node, said)?, true);
                }
                _ if script::is_unknown(error) => link.load_scripts().await?,
                _ => {
                    let fault = RedisFault::refused(error);
                    if fault.asks_for_another_connection() {
                        link.give_up();
                        self.doubt();
                    }
                    return Err(fault.into());
                }
            }
        }
        Err(RedisFault::Unserved.into())
    }

    fn doubt(&self) {
        if let Self::Cluster(cluster) = self {
            cluster.doubt();
        }
    }
}

/// A caller that leaves before its answer is never told that the node is gone, and so nobody is:
/// it may be, and the map is read again.
struct Leaving<'a>(&'a Servers);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.doubt();
    }
}

async fn ask_one(
    link: &Link,
    question: &Question<'_>,
    asking: bool,
) -> Result<Vec<Value>, StoreError> {
    let (commands, count) = question.commands()?;
    let granting = question.claims();
    if !asking {
        return link.ask(&commands, count, granting).await;
    }
    let mut with_asking = Pipeline::with_capacity(count + 1);
    with_asking.cmd("ASKING");
    for command in commands.cmd_iter() {
        with_asking.add_command(command.clone());
    }
    let mut replies = link.ask(&with_asking, count + 1, granting).await?;
    replies.remove(0);
    Ok(replies)
}

/// The first thing that the server refused, also within a transaction.
fn first_error(replies: &[Value]) -> Option<&ServerError> {
    replies.iter().find_map(|reply| match reply {
        Value::ServerError(error) => Some(error),
        Value::Array(parts) => first_error(parts),
        _ => None,
    })
}
