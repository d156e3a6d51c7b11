//! The layer's own answers as HTTP responses: refusals and replays.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use idemp::http::{Profile, Refusal, RequestId, StoredResponse};
use idemp::{Entropy, Key, SystemEntropy};
use serde::Serialize;

use crate::body::Body;
use crate::collect::Unread;
use crate::scope::ScopeError;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What an answer says of the request it answers.
pub(crate) struct Answers {
    profile: Profile,
    key: Option<Key>,
    /// Of the client, or of a layer outside; where there is none, one is made for the refusal.
    request_id: Option<HeaderValue>,
}

impl Answers {
    pub(crate) fn new(profile: Profile, headers: &HeaderMap, key: Option<Key>) -> Self {
        Self {
            profile,
            key,
            request_id: headers.get(REQUEST_ID).cloned(),
        }
    }

    pub(crate) fn refuse<B: http_body::Body>(&self, refusal: Refusal) -> Response<Body<B>> {
        let id = self.request_id();
        let answer = refusal.answer(self.profile, &id, self.key.as_ref());
        let mut response = Response::new(Body::whole(answer.body));
        *response.status_mut() = status(answer.status);
        let headers = response.headers_mut();
        for (name, value) in answer.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.append(HeaderName::from_static(name), value);
            }
        }
        name_request(headers, &id);
        response
    }

    pub(crate) fn no_scope<B: http_body::Body>(&self, error: &ScopeError) -> Response<Body<B>> {
        match error {
            ScopeError::Unauthenticated => self.other(
                401,
                "UNAUTHENTICATED",
                "This operation requires authentication.",
            ),
            ScopeError::Missing | ScopeError::Malformed(_) => self.other(
                500,
                "IDEMPOTENCY_SCOPE_MISSING",
                "The server cannot tell whose Idempotency-Key this is.",
            ),
        }
    }

    pub(crate) fn unread<B: http_body::Body>(&self, unread: Unread) -> Response<Body<B>> {
        match unread {
            Unread::TooLarge => self.refuse(Refusal::BodyTooLarge),
            Unread::Broken => self.other(
                400,
                "IDEMPOTENCY_BODY_UNREADABLE",
                "The request body broke off. Nothing was done; send it again.",
            ),
        }
    }

    /// The claim was granted so late that it is worth nothing any more.
    pub(crate) fn late<B: http_body::Body>(&self) -> Response<Body<B>> {
        let mut response = self.refuse(Refusal::StoreUnavailable);
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        response
    }

    /// The request is under a layer with the same scope already.
    pub(crate) fn nested<B: http_body::Body>(&self) -> Response<Body<B>> {
        self.other(
            500,
            "IDEMPOTENCY_NESTED",
            "The server takes this request for a duplicate of itself.",
        )
    }

    /// The stored response; `None` where it cannot be read.
    pub(crate) fn replay<B: http_body::Body>(stored: idemp::Body) -> Option<Response<Body<B>>> {
        let bytes = Bytes::from_owner(stored);
        let stored = StoredResponse::decode(&bytes).ok()?;
        let mut headers = HeaderMap::with_capacity(8);
        for (name, value) in stored.replay_headers() {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            // What was stored is shared; what core adds is copied.
            let value = if bytes.as_ptr_range().contains(&value.as_ptr()) {
                HeaderValue::from_maybe_shared(bytes.slice_ref(value))
            } else {
                HeaderValue::from_bytes(value)
            };
            headers.append(name, value.ok()?);
        }
        if let Some(length) = stored.content_length() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        let body = bytes.slice(bytes.len() - stored.body().len()..);
        let mut response = Response::new(Body::whole(body));
        *response.status_mut() = StatusCode::from_u16(stored.status()).ok()?;
        *response.headers_mut() = headers;
        Some(response)
    }

    /// An answer that core has no rule for, in the form of those that it has.
    fn other<B: http_body::Body>(&self, code: u16, name: &str, message: &str) -> Response<Body<B>> {
        let (id, status) = (self.request_id(), status(code));
        let (content_type, body) = match self.profile {
            Profile::Default => {
                let body = json(&Told {
                    code: name,
                    message,
                    request_id: id.as_str(),
                    details: Details {},
                });
                ("application/json", body)
            }
            Profile::Ietf => {
                let body = json(&Problem {
                    kind: "about:blank",
                    title: status.canonical_reason(),
                    status: code,
                    detail: message,
                    code: name,
                    request_id: id.as_str(),
                });
                ("application/problem+json", body)
            }
        };
        let mut response = Response::new(Body::whole(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        for (name, value) in [
            ("content-type", content_type),
            ("content-language", "en"),
            ("cache-control", "no-store"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        name_request(headers, &id);
        response
    }

    fn request_id(&self) -> RequestId {
        let sent = self.request_id.as_ref().and_then(|id| id.to_str().ok());
        let adopted = sent.and_then(|id| RequestId::new(id).ok());
        adopted.unwrap_or_else(|| {
            let [a, b, c, d, ..] = SystemEntropy.bytes();
            RequestId::from_random([a, b, c, d])
        })
    }
}

/// As core tells its refusals, with the members in their order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    code: &'a str,
    message: &'a str,
    request_id: &'a str,
    details: Details,
}

#[derive(Serialize)]
struct Details {}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    title: Option<&'a str>,
    status: u16,
    detail: &'a str,
    code: &'a str,
    request_id: &'a str,
}

fn json(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("plain data is always JSON")
}

/// What the client gets of a handler that panicked.
pub(crate) fn panicked<B: http_body::Body>() -> Response<Body<B>> {
    let mut response = Response::new(Body::whole(Bytes::new()));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

fn name_request(headers: &mut HeaderMap, id: &RequestId) {
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        headers.insert(REQUEST_ID, value);
    }
}

fn status(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
