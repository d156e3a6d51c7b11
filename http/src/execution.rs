//! [`Execution`]: what a handler may do with the lease it runs under.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use idemp::{AsyncStore, Body, LeaseError, LeaseHandle, LeaseToken};

/// The execution of a request with an idempotency key, for its handler: an extension of the
/// request. A request that passed the layer untouched has none.
///
/// ```
/// # use axum::Extension;
/// use idemp_tower::Execution;
///
/// async fn create(execution: Option<Extension<Execution>>) -> String {
///     match execution {
///         Some(Extension(execution)) => format!("attempt {}", execution.attempt()),
///         None => "no key".into(),
///     }
/// }
/// # let _: axum::Router = axum::Router::new().route("/", axum::routing::post(create));
/// ```
#[derive(Clone)]
pub struct Execution(Arc<Marked<dyn Lease>>);

struct Marked<L: ?Sized> {
    mark: AtomicU8,
    lease: L,
}

impl Execution {
    /// Counts the attempts at this key from 1: see [`LeaseToken::attempt`].
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.0.lease.attempt()
    }

    /// The fencing token for systems downstream: see [`LeaseToken::fence`].
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.0.lease.fence()
    }

    /// What is certainly left of the lease, to be checked right before an irreversible effect.
    /// The layer prolongs the lease while the handler runs.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.0.lease.remaining()
    }

    /// What an earlier attempt, or this one, published: a recovery point.
    #[must_use]
    pub fn published(&self) -> Option<Body> {
        self.0.lease.published()
    }

    /// The lease as data. It is a capability, and holds the key: treat it like a secret.
    #[must_use]
    pub fn token(&self) -> LeaseToken {
        self.0.lease.token()
    }

    /// Records interim state, as JSON, for the next attempt, and prolongs the lease.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn publish(
        &self,
        state: &(impl serde::Serialize + ?Sized),
    ) -> Result<(), LeaseError> {
        let state = serde_json::to_vec(state).map_err(LeaseError::Value)?;
        self.publish_bytes(state).await
    }

    /// [`Execution::publish`] with bytes of any kind.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn publish_bytes(&self, state: impl Into<Body>) -> Result<(), LeaseError> {
        self.0.lease.publish(state.into()).await
    }

    /// It is not known what came of it: retries are told so until it is resolved, whatever the
    /// handler answers. Where the store fails, the layer says it again when the handler is done.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn mark_unknown(&self) -> Result<(), LeaseError> {
        self.0.mark.fetch_max(ASKED, Ordering::SeqCst);
        self.0.lease.mark_unknown().await?;
        self.0.mark.fetch_max(TOLD, Ordering::SeqCst);
        Ok(())
    }

    pub(crate) fn new<S: AsyncStore + 'static>(lease: LeaseHandle<S>) -> Self {
        Self(Arc::new(Marked {
            mark: AtomicU8::default(),
            lease,
        }))
    }

    /// What the handler said of an unknown outcome.
    pub(crate) fn mark(&self) -> Mark {
        match self.0.mark.load(Ordering::SeqCst) {
            TOLD => Mark::Told,
            ASKED => Mark::Asked,
            _ => Mark::None,
        }
    }
}

/// Whether the outcome was marked as unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    None,
    /// The store may not know.
    Asked,
    Told,
}

const ASKED: u8 = 1;
const TOLD: u8 = 2;

impl fmt::Debug for Execution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Execution")
            .field("attempt", &self.attempt())
            .field("fence", &self.fence())
            .finish_non_exhaustive()
    }
}

type Verb<'a> = Pin<Box<dyn Future<Output = Result<(), LeaseError>> + Send + 'a>>;

/// A [`LeaseHandle`] whatever its store.
trait Lease: Send + Sync {
    fn attempt(&self) -> u32;
    fn fence(&self) -> u64;
    fn remaining(&self) -> Duration;
    fn published(&self) -> Option<Body>;
    fn token(&self) -> LeaseToken;
    fn publish(&self, state: Body) -> Verb<'_>;
    fn mark_unknown(&self) -> Verb<'_>;
}

impl<S: AsyncStore + 'static> Lease for LeaseHandle<S> {
    fn attempt(&self) -> u32 {
        self.attempt()
    }

    fn fence(&self) -> u64 {
        self.fence()
    }

    fn remaining(&self) -> Duration {
        self.remaining()
    }

    fn published(&self) -> Option<Body> {
        self.published()
    }

    fn token(&self) -> LeaseToken {
        self.token()
    }

    fn publish(&self, state: Body) -> Verb<'_> {
        Box::pin(self.publish_bytes(state))
    }

    fn mark_unknown(&self) -> Verb<'_> {
        Box::pin(self.mark_unknown())
    }
}
