//! The owner's side: the handler runs, and its answer settles the slot.

use std::pin::pin;
use std::sync::Arc;

use http::response::Parts;
use http::{Request, Response, header};
use idemp::http::{Disposition, Refusal, StoredResponse};
use idemp::{AsyncLease, AsyncStore};
use tokio::sync::OwnedSemaphorePermit;
use tower_service::Service;

use crate::answer::{Answers, panicked};
use crate::body::Body;
use crate::collect::{Collected, collect};
use crate::execution::{Execution, Mark};
use crate::inner::{CatchUnwind, Oneshot, Panicked};
use crate::layer::Rules;
use crate::settle::Settlement;
use crate::within::{Late, within};

/// Executes the request, settles the slot, and only then gives the answer.
pub(crate) async fn execute<S, I, B, R>(
    rules: Arc<Rules<S>>,
    inner: I,
    mut request: Box<Request<Body<B>>>,
    answers: Answers,
    mut lease: AsyncLease<S>,
    room: Option<OwnedSemaphorePermit>,
) -> Result<Response<Body<R>>, I::Error>
where
    S: AsyncStore + 'static,
    I: Service<Request<Body<B>>, Response = Response<R>>,
    B: http_body::Body,
    R: http_body::Body,
{
    let execution = Execution::new(lease.handle());
    request.extensions_mut().insert(execution.clone());

    let (settlement, answer) = {
        let mut work = pin!(work(&rules, inner, request));
        // Most are done long before the lease needs to be kept alive, which takes a task.
        let done = match within(rules.idem.policy().lease() / 6, &mut work).await {
            Err(Late) => {
                lease.keep_alive();
                within(rules.idem.policy().ceiling(), &mut work).await
            }
            done => done,
        };
        match done {
            Ok(done) => done,
            Err(Late) => {
                // It may never answer. Its key stays as it is.
                drop(room);
                work.await
            }
        }
    };

    let settlement = match execution.mark() {
        Mark::None => settlement,
        Mark::Asked => Settlement::Fence,
        Mark::Told => Settlement::Said,
    };
    let is_outcome = settlement.is_outcome();
    match settlement.settle(lease, rules.store_timeout).await {
        // Somebody else has executed it since, or does: what is stored counts.
        Some(stale) if is_outcome => Ok(match stale.winner {
            Some(winner) => Answers::replay(winner.into_body())
                .unwrap_or_else(|| answers.refuse(Refusal::StoreUnavailable)),
            None => answers.refuse(Refusal::in_progress(std::time::Duration::ZERO)),
        }),
        _ => answer,
    }
}

async fn work<S, I, B, R>(
    rules: &Rules<S>,
    inner: I,
    request: Box<Request<Body<B>>>,
) -> (Settlement, Result<Response<Body<R>>, I::Error>)
where
    I: Service<Request<Body<B>>, Response = Response<R>>,
    B: http_body::Body,
    R: http_body::Body,
{
    let thrown = || Settlement::without_response(rules.statuses.disposition_of_throw());
    let response = match CatchUnwind::new(Oneshot::new(inner, *request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return (thrown(), Err(error)),
        Err(Panicked) => return (thrown(), Ok(panicked())),
    };
    match rules.statuses.disposition(response.status().as_u16()) {
        Disposition::Remember => match CatchUnwind::new(remember(rules, response)).await {
            Ok((settlement, response)) => (settlement, Ok(response)),
            // The handler has answered, so the effect is there.
            Err(Panicked) => (Settlement::Unstorable, Ok(panicked())),
        },
        disposition => (
            Settlement::without_response(disposition),
            Ok(response.map(Body::untouched)),
        ),
    }
}

async fn remember<S, R>(rules: &Rules<S>, response: Response<R>) -> (Settlement, Response<Body<R>>)
where
    R: http_body::Body,
{
    if streams(&response) {
        return (Settlement::Unstorable, response.map(Body::untouched));
    }
    let (parts, body) = response.into_parts();
    let body = match collect(body, rules.response_limit, rules.stream_after).await {
        Collected::Whole(body) => body,
        Collected::Unstorable(body) => {
            return (Settlement::Unstorable, Response::from_parts(parts, body));
        }
    };
    if is_misstated(&parts, body.len()) {
        let response = Response::from_parts(parts, Body::misstated(body));
        return (Settlement::Unstorable, response);
    }
    let headers = parts.headers.iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.as_bytes()));
    let status = parts.status.as_u16();
    let settlement = match StoredResponse::new(status, headers, &body, &rules.headers) {
        Ok(stored) => Settlement::Store(stored.encode()),
        Err(_) => Settlement::Unstorable,
    };
    (settlement, Response::from_parts(parts, Body::whole(body)))
}

/// Whether the response says that its body has another length: it would be cut short, or be more
/// than it says. A status without a body may tell the length that another answer has.
fn is_misstated(parts: &Parts, length: usize) -> bool {
    let told = parts.headers.get(header::CONTENT_LENGTH);
    let told = told.and_then(|told| told.to_str().ok()?.parse().ok());
    let has_body = !matches!(parts.status.as_u16(), 100..=199 | 204 | 304);
    has_body && told.is_some_and(|told: usize| told != length)
}

/// Whether the response says that it is a stream.
fn streams<R>(response: &Response<R>) -> bool {
    const EVENTS: &[u8] = b"text/event-stream";
    let content_type = response.headers().get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| {
        let essence = value.as_bytes().split(|c| *c == b';').next();
        essence.is_some_and(|essence| essence.trim_ascii().eq_ignore_ascii_case(EVENTS))
    })
}
