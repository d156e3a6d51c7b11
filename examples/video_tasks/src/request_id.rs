//! Every request has an id, and every answer says which one it answers.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue};
use idemp::http::RequestId;
use idemp::{Entropy, SystemEntropy};

/// Where the id travels.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Adopts the id that came with the request, or makes one; hands it on as an extension and as a
/// header, and puts it on the answer.
///
/// It stands outside the idempotency layer, so a replay carries the id of the request that it
/// answers, never that of the first.
pub async fn name(mut request: Request, next: Next) -> Response {
    let id = adopted(&request).unwrap_or_else(fresh);
    let value = HeaderValue::from_str(id.as_str()).expect("a request id is visible ascii");
    request.headers_mut().insert(X_REQUEST_ID, value.clone());
    request.extensions_mut().insert(id);
    let mut response = next.run(request).await;
    response.headers_mut().insert(X_REQUEST_ID, value);
    response
}

/// The id of a request that [`name`] has seen.
#[must_use]
pub fn of(extensions: &http::Extensions) -> RequestId {
    extensions.get().cloned().unwrap_or_else(fresh)
}

fn adopted(request: &Request) -> Option<RequestId> {
    let mut ids = request.headers().get_all(X_REQUEST_ID).iter();
    let id = RequestId::new(ids.next()?.to_str().ok()?).ok()?;
    ids.next().is_none().then_some(id)
}

fn fresh() -> RequestId {
    let [a, b, c, d, ..] = SystemEntropy.bytes();
    RequestId::from_random([a, b, c, d])
}
