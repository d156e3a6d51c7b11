//! [`Problem`]: what the service answers when it does not do what it was asked, in the shape that
//! the idempotency layer uses too: `{"code", "message", "requestId", "details"}`.

use axum::Json;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use idemp::http::RequestId;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{database, request_id};

/// A refusal on its way to the client. A handler returns it; [`tell`] gives it the request's id.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
    details: Map<String, Value>,
    /// In seconds.
    retry_after: Option<u64>,
}

impl Problem {
    /// With a code for programs and a message for people.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            details: Map::new(),
            retry_after: None,
        }
    }

    /// The request is not one that can be understood: 400.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST", message)
    }

    /// There is nothing of this name: 404.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        let message = format!("There is no such {what}.");
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", message)
    }

    /// The service's own database failed: 500. The client is told no more than that.
    #[must_use]
    pub fn broken() -> Self {
        let message = "The tasks cannot be read or written just now. Ask again.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", message)
    }

    /// It is not known who is asking: 401 (RFC 9110, section 15.5.2).
    #[must_use]
    pub fn unauthenticated() -> Self {
        let message = "Send `Authorization: Bearer USER`.";
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", message)
    }

    /// Adds one detail.
    #[must_use]
    pub fn detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// When asking again may help, in seconds (RFC 9110, section 10.2.3).
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The whole answer to the request `id`.
    #[must_use]
    pub fn answer(self, id: &RequestId) -> Response {
        let body = Body {
            code: self.code,
            message: &self.message,
            request_id: id.as_str(),
            details: &self.details,
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<database::Error> for Problem {
    fn from(error: database::Error) -> Self {
        eprintln!("video_tasks: the database: {error}");
        Self::broken()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    code: &'a str,
    message: &'a str,
    request_id: &'a str,
    details: &'a Map<String, Value>,
}

/// For [`tell`] to find.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Tells the problems that come from inside. Where a layer stores answers, one more stands inside
/// of that, so that it sees the answer as the client will.
pub async fn tell(request: Request, next: Next) -> Response {
    let id = request_id::of(request.extensions());
    let mut response = next.run(request).await;
    match response.extensions_mut().remove::<Problem>() {
        Some(problem) => {
            let mut answer = problem.answer(&id);
            // The router's own, with a 405 (RFC 9110, section 15.5.6).
            if let Some(allow) = response.headers_mut().remove(ALLOW) {
                answer.headers_mut().insert(ALLOW, allow);
            }
            answer
        }
        None => response,
    }
}

/// For a path that the service does not have.
pub async fn no_such_path() -> Problem {
    Problem::not_found("path")
}

/// For a method that the path does not have.
pub async fn no_such_method() -> Problem {
    let message = "This path does not know that method, see `Allow`.";
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "METHOD_NOT_ALLOWED",
        message,
    )
}
