//! [`IdempotencyLayer`]: what is to be idempotent, and how.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use idemp::http::{HeaderFilter, KeyRequirement, Methods, Profile, StatusTable, Strictness};
use idemp::{AsyncStore, Fingerprint, Idempotency, Scope};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tower_layer::Layer;

use crate::inner::Panicked;
use crate::payload;
use crate::scope::ScopeError;
use crate::service::IdempotencyService;

/// Makes the requests to a service that carry an `Idempotency-Key` idempotent. See the
/// [crate's documentation](crate) for what it does and where it stands.
///
/// Every setting has a default. A clone of a layer shares its bound on owners.
pub struct IdempotencyLayer<S> {
    rules: Arc<Rules<S>>,
}

/// What a layer was told.
pub(crate) struct Rules<S> {
    pub(crate) idem: Idempotency<S>,
    scope: Arc<ScopeOf>,
    fingerprint: Arc<FingerprintOf>,
    pub(crate) requirement: KeyRequirement,
    pub(crate) methods: Methods,
    pub(crate) statuses: StatusTable,
    pub(crate) headers: HeaderFilter,
    pub(crate) profile: Profile,
    pub(crate) strictness: Strictness,
    pub(crate) body_limit: usize,
    pub(crate) response_limit: usize,
    pub(crate) stream_after: Duration,
    pub(crate) store_timeout: Duration,
    owners: Option<Arc<Semaphore>>,
    pub(crate) fail_open: bool,
}

type ScopeOf = dyn Fn(&Parts) -> Result<Scope, ScopeError> + Send + Sync;
type FingerprintOf = dyn Fn(&Parts, &Bytes) -> Fingerprint + Send + Sync;

impl<S> IdempotencyLayer<S> {
    /// The most bytes of a request body where no limit is set: 2 MiB.
    pub const DEFAULT_BODY_LIMIT: usize = 2 << 20;
    /// The most bytes of a response body that is stored, where no limit is set: 1 MiB.
    pub const DEFAULT_RESPONSE_LIMIT: usize = 1 << 20;
    /// How long a response of unknown length is held back where nothing is set: 2 s.
    pub const DEFAULT_STREAM_AFTER: Duration = Duration::from_secs(2);
    /// How long the store has to answer where nothing is set: 5 s.
    pub const DEFAULT_STORE_TIMEOUT: Duration = Duration::from_secs(5);

    /// With the scope of each request, from what an outer layer has authenticated: the tenant,
    /// the user, the route.
    ///
    /// A caller is given the replays of its scope. So the scope has to name the caller, and must
    /// not be made of what a caller can choose freely. A request that `scope` gives an error for
    /// is refused.
    ///
    /// ```
    /// use idemp::{Idempotency, MemoryStore, Scope};
    /// use idemp_tower::{IdempotencyLayer, ScopeError};
    ///
    /// #[derive(Clone)]
    /// struct User(String); // put into the extensions by the layer that authenticates
    ///
    /// let idem = Idempotency::new(MemoryStore::new());
    /// let layer = IdempotencyLayer::new(idem, |request| {
    ///     let user = request.extensions.get::<User>().ok_or(ScopeError::Unauthenticated)?;
    ///     Ok(Scope::new([user.0.as_str(), "POST /api/video-tasks"])?)
    /// });
    /// ```
    pub fn new(
        idem: Idempotency<S>,
        scope: impl Fn(&Parts) -> Result<Scope, ScopeError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            rules: Arc::new(Rules {
                idem,
                scope: Arc::new(scope),
                fingerprint: Arc::new(payload::fingerprint),
                requirement: KeyRequirement::default(),
                methods: Methods::default(),
                statuses: StatusTable::default(),
                headers: HeaderFilter::default(),
                profile: Profile::default(),
                strictness: Strictness::default(),
                body_limit: Self::DEFAULT_BODY_LIMIT,
                response_limit: Self::DEFAULT_RESPONSE_LIMIT,
                stream_after: Self::DEFAULT_STREAM_AFTER,
                store_timeout: Self::DEFAULT_STORE_TIMEOUT,
                owners: None,
                fail_open: false,
            }),
        }
    }

    /// One scope for all callers. **Whoever sends the same key and payload as somebody else gets
    /// that one's answer.** Only for services with a single caller, or whose keys nobody can guess
    /// and whose answers hold nothing private.
    ///
    /// Layers of different routes on one store share the scope too: what keeps their requests
    /// apart is the path in the fingerprint, so the same key on another route is a conflict.
    #[must_use]
    pub fn unscoped(idem: Idempotency<S>) -> Self {
        Self::new(idem, |_| Ok(Scope::new(["unscoped"])?))
    }

    /// A request without a key is refused. By default it passes untouched.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.rules_mut().requirement = KeyRequirement::Required;
        self
    }

    /// The methods that are made idempotent. By default POST and PATCH.
    #[must_use]
    pub fn methods(mut self, methods: Methods) -> Self {
        self.rules_mut().methods = methods;
        self
    }

    /// What becomes of the slot, by the status of the answer.
    #[must_use]
    pub fn statuses(mut self, statuses: StatusTable) -> Self {
        self.rules_mut().statuses = statuses;
        self
    }

    /// Which headers of an answer are stored with it.
    #[must_use]
    pub fn headers(mut self, headers: HeaderFilter) -> Self {
        self.rules_mut().headers = headers;
        self
    }

    /// How refusals are told.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.rules_mut().profile = profile;
        self
    }

    /// Which forms of the header are read.
    #[must_use]
    pub fn strictness(mut self, strictness: Strictness) -> Self {
        self.rules_mut().strictness = strictness;
        self
    }

    /// The most bytes of a request body, inclusive; a longer one is refused with 413. It is read
    /// into memory before the handler runs. By default
    /// [`DEFAULT_BODY_LIMIT`](Self::DEFAULT_BODY_LIMIT).
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.rules_mut().body_limit = bytes;
        self
    }

    /// The most bytes of a response body that is stored, inclusive. A longer one reaches its
    /// client, and retries are told that the outcome is unknown. By default
    /// [`DEFAULT_RESPONSE_LIMIT`](Self::DEFAULT_RESPONSE_LIMIT).
    #[must_use]
    pub fn response_limit(mut self, bytes: usize) -> Self {
        self.rules_mut().response_limit = bytes;
        self
    }

    /// How long a response body of unknown length is held back to be stored, from its head on.
    /// One that has not ended by then is a stream: what there is of it goes to the client, the
    /// rest as it comes, and retries are told that the outcome is unknown. By default
    /// [`DEFAULT_STREAM_AFTER`](Self::DEFAULT_STREAM_AFTER).
    ///
    /// `text/event-stream` is a stream at once.
    #[must_use]
    pub fn stream_after(mut self, patience: Duration) -> Self {
        self.rules_mut().stream_after = patience;
        self
    }

    /// How long the store has to answer each question. By default
    /// [`DEFAULT_STORE_TIMEOUT`](Self::DEFAULT_STORE_TIMEOUT).
    #[must_use]
    pub fn store_timeout(mut self, timeout: Duration) -> Self {
        self.rules_mut().store_timeout = timeout;
        self
    }

    /// At most `owners` requests with a key are executed at once; a further one is refused with
    /// 503 and `Retry-After`, and leaves no claim behind. Replays are answered all the same. One that
    /// is still running at the ceiling of its lease does not count any more, since it may never
    /// answer; give such work a limit of time. By default there is no bound.
    #[must_use]
    pub fn max_owners(mut self, owners: usize) -> Self {
        let owners = owners.min(Semaphore::MAX_PERMITS);
        self.rules_mut().owners = Some(Arc::new(Semaphore::new(owners)));
        self
    }

    /// What makes two requests the same. By default the method, the path, the query with its
    /// parameters sorted by name, the content type and the body.
    ///
    /// **What it leaves out, a client may change and still get the stored answer.**
    #[must_use]
    pub fn fingerprint(
        mut self,
        fingerprint: impl Fn(&Parts, &Bytes) -> Fingerprint + Send + Sync + 'static,
    ) -> Self {
        self.rules_mut().fingerprint = Arc::new(fingerprint);
        self
    }

    /// Where the store cannot be reached, **execute all the same, without protection**: a retry
    /// is executed again. By default such requests are refused with 503.
    ///
    /// A record that cannot be read, and a store that is closed or damaged, are no such case: they
    /// always block.
    #[must_use]
    pub fn fail_open(mut self) -> Self {
        self.rules_mut().fail_open = true;
        self
    }

    fn rules_mut(&mut self) -> &mut Rules<S> {
        Arc::make_mut(&mut self.rules)
    }

    /// What decides, and whose store it is.
    #[must_use]
    pub fn idempotency(&self) -> &Idempotency<S> {
        &self.rules.idem
    }
}

impl<S: AsyncStore + 'static> IdempotencyLayer<S> {
    /// Returns when nothing is executed any more, also for clients that are gone: for a graceful
    /// shutdown, after the server has stopped. It waits for as long as a handler runs: put a limit
    /// of time around it. The same as [`Idempotency::idle`].
    pub async fn idle(&self) {
        self.rules.idem.idle().await;
    }
}

impl<S, I> Layer<I> for IdempotencyLayer<S> {
    type Service = IdempotencyService<S, I>;

    fn layer(&self, inner: I) -> Self::Service {
        IdempotencyService::new(self.rules.clone(), inner)
    }
}

impl<S> Rules<S> {
    /// Whose key it is. A closure that panics has not said so.
    pub(crate) fn scope_of(&self, parts: &Parts) -> Result<Scope, ScopeError> {
        let scope = catch_unwind(AssertUnwindSafe(|| (self.scope)(parts)));
        scope.unwrap_or(Err(ScopeError::Missing))
    }

    /// What the request is.
    pub(crate) fn fingerprint_of(
        &self,
        parts: &Parts,
        body: &Bytes,
    ) -> Result<Fingerprint, Panicked> {
        catch_unwind(AssertUnwindSafe(|| (self.fingerprint)(parts, body))).map_err(|_| Panicked)
    }

    /// Room for one owner, which it holds until it is dropped; `None` where there is no bound.
    pub(crate) fn admit(&self) -> Result<Option<OwnedSemaphorePermit>, TryAcquireError> {
        let owners = self.owners.as_ref();
        owners
            .map(|owners| owners.clone().try_acquire_owned())
            .transpose()
    }
}

impl<S> Clone for IdempotencyLayer<S> {
    fn clone(&self) -> Self {
        Self {
            rules: self.rules.clone(),
        }
    }
}

impl<S> Clone for Rules<S> {
    fn clone(&self) -> Self {
        Self {
            idem: self.idem.clone(),
            scope: self.scope.clone(),
            fingerprint: self.fingerprint.clone(),
            requirement: self.requirement,
            methods: self.methods.clone(),
            statuses: self.statuses.clone(),
            headers: self.headers.clone(),
            profile: self.profile,
            strictness: self.strictness,
            body_limit: self.body_limit,
            response_limit: self.response_limit,
            stream_after: self.stream_after,
            store_timeout: self.store_timeout,
            owners: self.owners.clone(),
            fail_open: self.fail_open,
        }
    }
}

impl<S> fmt::Debug for IdempotencyLayer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rules.fmt(f)
    }
}

impl<S> fmt::Debug for Rules<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyLayer")
            .field("policy", self.idem.policy())
            .field("requirement", &self.requirement)
            .field("methods", &self.methods)
            .field("statuses", &self.statuses)
            .field("profile", &self.profile)
            .field("fail_open", &self.fail_open)
            .finish_non_exhaustive()
    }
}
