//! [`IdempotencyService`]: a request's way through the layer.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, Request, Response};
use idemp::http::{KEY_HEADER, KeyRequirement, Refusal, parse_idempotency_key};
use idemp::{
    AsyncLease, AsyncStore, Decision, Error, Fingerprint, Key, Scope, SlotKey, StoreError,
};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::answer::{Answers, panicked};
use crate::body::Body;
use crate::collect::read;
use crate::detached::Detached;
use crate::execution::Execution;
use crate::inner::{Oneshot, Panicked};
use crate::layer::Rules;
use crate::owner::execute;
use crate::within::within;

/// The service that an [`IdempotencyLayer`](crate::IdempotencyLayer) makes of another one.
///
/// It is always ready: the inner service is asked whether it is only when a request is to be
/// executed, so that a replay is answered even while the inner service has no room.
pub struct IdempotencyService<S, I> {
    rules: Arc<Rules<S>>,
    inner: I,
}

impl<S, I> IdempotencyService<S, I> {
    pub(crate) fn new(rules: Arc<Rules<S>>, inner: I) -> Self {
        Self { rules, inner }
    }
}

impl<S, I, B, R> Service<Request<B>> for IdempotencyService<S, I>
where
    S: AsyncStore + 'static,
    I: Service<Request<Body<B>>, Response = Response<R>> + Clone + Send + 'static,
    I::Future: Send + 'static,
    I::Error: Send + 'static,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>> + Send,
    R: http_body::Body + Send + 'static,
    R::Data: Send,
    R::Error: Send,
{
    type Response = Response<Body<R>>;
    type Error = I::Error;
    type Future = ResponseFuture<I, B, R>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), I::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (rules, inner) = (&self.rules, self.inner.clone());
        if !rules.methods.contains(request.method().as_str()) {
            return ResponseFuture::untouched(inner, request);
        }
        let values = request.headers().get_all(KEY_HEADER);
        let values = values.iter().map(HeaderValue::as_bytes);
        let answers = |key| Answers::new(rules.profile, request.headers(), key);
        match parse_idempotency_key(values, rules.strictness) {
            Ok(Some(key)) => {
                let answers = answers(Some(key.clone()));
                let (parts, body) = request.into_parts();
                let scope = match rules.scope_of(&parts) {
                    Ok(scope) => scope,
                    Err(error) => return ResponseFuture::answered(answers.no_scope(&error)),
                };
                let keyed = Keyed {
                    rules: rules.clone(),
                    inner,
                    scope,
                    key,
                    answers,
                };
                ResponseFuture::keyed(keyed.answer(parts, body))
            }
            Ok(None) => match rules.requirement {
                KeyRequirement::Optional => ResponseFuture::untouched(inner, request),
                KeyRequirement::Required => {
                    ResponseFuture::answered(answers(None).refuse(Refusal::KeyMissing))
                }
            },
            Err(_) => ResponseFuture::answered(answers(None).refuse(Refusal::KeyInvalid)),
        }
    }
}

/// What becomes of a request with a key.
struct Keyed<S, I> {
    rules: Arc<Rules<S>>,
    inner: I,
    scope: Scope,
    key: Key,
    answers: Answers,
}

impl<S: AsyncStore + 'static, I> Keyed<S, I> {
    /// Until its body is read the request goes away with its client, from then on it is run to
    /// its end.
    async fn answer<B, R>(self, parts: Parts, body: B) -> Result<Response<Body<R>>, I::Error>
    where
        I: Service<Request<Body<B>>, Response = Response<R>> + Send + 'static,
        I::Future: Send + 'static,
        I::Error: Send + 'static,
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn StdError + Send + Sync>> + Send,
        R: http_body::Body + Send + 'static,
        R::Data: Send,
        R::Error: Send,
    {
        let body = match read(body, self.rules.body_limit).await {
            Ok(body) => body,
            Err(unread) => return Ok(self.answers.unread(unread)),
        };
        let fingerprint = match self.rules.fingerprint_of(&parts, &body.bytes) {
            Ok(fingerprint) => fingerprint,
            Err(Panicked) => return Ok(panicked()),
        };
        // In a box, since it is moved from one future into the next.
        let request = Box::new(Request::from_parts(parts, body.into_body()));
        Detached::new(self.decide(request, fingerprint)).await
    }

    async fn decide<B, R>(
        self,
        request: Box<Request<Body<B>>>,
        fingerprint: Fingerprint,
    ) -> Result<Response<Body<R>>, I::Error>
    where
        I: Service<Request<Body<B>>, Response = Response<R>>,
        B: http_body::Body,
        R: http_body::Body,
    {
        let (rules, answers) = (self.rules, self.answers);
        let is_nested = is_under(&request, &self.scope, &self.key);
        let refusal = match begin(&rules, self.scope, self.key, fingerprint).await {
            // The process stood still, and somebody else may have taken over.
            Ok(Decision::Miss(lease)) if lease.remaining().is_zero() => {
                Box::pin(give_back(lease, rules.store_timeout)).await;
                return Ok(answers.late());
            }
            Ok(Decision::Miss(lease)) => match rules.admit() {
                // In a box, since it is large and a replay does without.
                Ok(room) => {
                    let execution = execute(rules, self.inner, request, answers, lease, room);
                    return Box::pin(execution).await;
                }
                Err(_) => {
                    Box::pin(give_back(lease, rules.store_timeout)).await;
                    Refusal::Overloaded {
                        retry_after_seconds: 1,
                    }
                }
            },
            Ok(Decision::Hit(replay)) => match Answers::replay(replay.into_body()) {
                Some(response) => return Ok(response),
                None => Refusal::StoreUnavailable,
            },
            Ok(Decision::Conflict | Decision::InProgress(_)) if is_nested => {
                return Ok(answers.nested());
            }
            Ok(Decision::Conflict) => Refusal::Conflict,
            Ok(Decision::InProgress(other)) => Refusal::in_progress(other.remaining()),
            Ok(Decision::Unknown) => Refusal::OutcomeUnknown,
            Ok(Decision::Expired) => Refusal::KeyExpired,
            // A record that cannot be read blocks, whatever was asked for.
            Err(Error::Store(error)) if rules.fail_open && error.is_retryable() => {
                let response = Box::pin(Oneshot::new(self.inner, *request)).await?;
                return Ok(response.map(Body::untouched));
            }
            Err(_) => Refusal::StoreUnavailable,
        };
        Ok(answers.refuse(refusal))
    }
}

type Begun<S> = Result<Decision<AsyncLease<S>>, Error>;

/// Asks the store, for as long as it may take. What it answers later is given back.
async fn begin<S: AsyncStore + 'static>(
    rules: &Rules<S>,
    scope: Scope,
    key: Key,
    fingerprint: Fingerprint,
) -> Begun<S> {
    let idem = rules.idem.clone();
    let mut asked = Box::pin(async move { idem.begin_async(&scope, &key, &fingerprint).await });
    match within(rules.store_timeout, &mut asked).await {
        Ok(decision) => decision,
        Err(_) => {
            let lease = rules.idem.policy().lease();
            let fail_open = rules.fail_open;
            tokio::spawn(async move {
                // A claim that is as old as its lease lapses on its own.
                if let Ok(Ok(Decision::Miss(mut late))) = within(lease, asked).await {
                    // Where it was executed all the same, the key stays bound to the payload.
                    let _ = match fail_open {
                        true => late.release().await,
                        false => late.forget().await,
                    };
                }
            });
            Err(StoreError::Timeout.into())
        }
    }
}

/// Whether a layer outside of this one holds this very key for the request.
fn is_under<B>(request: &Request<B>, scope: &Scope, key: &Key) -> bool {
    let outer = request.extensions().get::<Execution>();
    outer.is_some_and(|outer| *outer.token().slot() == SlotKey::new(scope, key))
}

/// Nothing was done under the lease.
async fn give_back<S: AsyncStore + 'static>(mut lease: AsyncLease<S>, limit: Duration) {
    // Where this fails the lease lapses.
    let _ = within(limit, lease.forget()).await;
}

pin_project! {
    /// The response to come.
    pub struct ResponseFuture<I, B, R>
    where
        I: Service<Request<Body<B>>>,
        B: http_body::Body,
        R: http_body::Body,
    {
        #[pin]
        state: State<I, B, R>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<I, B, R>
    where
        I: Service<Request<Body<B>>>,
        B: http_body::Body,
        R: http_body::Body,
    {
        Untouched { #[pin] response: Oneshot<I, Request<Body<B>>> },
        Answered { response: Option<Response<Body<R>>> },
        Keyed { response: Pin<Box<dyn Future<Output = Result<Response<Body<R>>, I::Error>> + Send>> },
    }
}

impl<I, B, R> ResponseFuture<I, B, R>
where
    I: Service<Request<Body<B>>>,
    B: http_body::Body,
    R: http_body::Body,
{
    fn untouched(inner: I, request: Request<B>) -> Self {
        let response = Oneshot::new(inner, request.map(Body::untouched));
        Self {
            state: State::Untouched { response },
        }
    }

    fn answered(response: Response<Body<R>>) -> Self {
        let response = Some(response);
        Self {
            state: State::Answered { response },
        }
    }

    fn keyed(
        response: impl Future<Output = Result<Response<Body<R>>, I::Error>> + Send + 'static,
    ) -> Self {
        let response = Box::pin(response);
        Self {
            state: State::Keyed { response },
        }
    }
}

impl<I, B, R> Future for ResponseFuture<I, B, R>
where
    I: Service<Request<Body<B>>, Response = Response<R>>,
    B: http_body::Body,
    R: http_body::Body,
{
    type Output = Result<Response<Body<R>>, I::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Untouched { response } => response
                .poll(cx)
                .map_ok(|response| response.map(Body::untouched)),
            StateProjection::Answered { response } => {
                Poll::Ready(Ok(response.take().expect("polled after its end")))
            }
            StateProjection::Keyed { response } => response.as_mut().poll(cx),
        }
    }
}

impl<S, I: Clone> Clone for IdempotencyService<S, I> {
    fn clone(&self) -> Self {
        Self {
            rules: self.rules.clone(),
            inner: self.inner.clone(),
        }
    }
}

impl<S, I: fmt::Debug> fmt::Debug for IdempotencyService<S, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyService")
            .field("rules", &self.rules)
            .field("inner", &self.inner)
            .finish()
    }
}

impl<I, B, R> fmt::Debug for ResponseFuture<I, B, R>
where
    I: Service<Request<Body<B>>>,
    B: http_body::Body,
    R: http_body::Body,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
