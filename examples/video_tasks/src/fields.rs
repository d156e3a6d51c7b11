//! [`Fields`]: reads the body of a request strictly. A mistake is told by the name of its field,
//! and a field that is not known is one: it may be a misspelt one that matters.

use std::ops::RangeInclusive;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value};

use crate::problem::Problem;

/// The longest body that is read, in bytes.
pub const BODY_LIMIT: usize = 16 * 1024;

/// The members of a JSON object that were not asked for yet.
#[derive(Debug)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// A text with so many characters and no control character.
    ///
    /// # Errors
    /// [`Problem`] where it is missing or something else.
    pub fn text(&mut self, name: &str, length: RangeInclusive<usize>) -> Result<String, Problem> {
        let (least, most) = (*length.start(), *length.end());
        let expected =
            || format!("a text of {least} to {most} characters, none a control character");
        match self.0.remove(name) {
            Some(Value::String(text))
                if length.contains(&text.chars().count())
                    && !text.chars().any(char::is_control) =>
            {
                Ok(text)
            }
            found => Err(mistake(name, found.is_none(), &expected())),
        }
    }

    /// A whole number in this range, both ends included.
    ///
    /// # Errors
    /// [`Problem`] where it is missing or something else.
    pub fn whole(&mut self, name: &str, range: RangeInclusive<u32>) -> Result<u32, Problem> {
        let found = self.0.remove(name);
        let number = found
            .as_ref()
            .and_then(whole)
            .and_then(|n| n.try_into().ok());
        number.filter(|n| range.contains(n)).ok_or_else(|| {
            let expected = format!("a whole number from {} to {}", range.start(), range.end());
            mistake(name, found.is_none(), &expected)
        })
    }

    /// One of these texts, the first where the field is missing.
    ///
    /// # Errors
    /// [`Problem`] where it is something else.
    pub fn choice(&mut self, name: &str, of: &[&'static str]) -> Result<&'static str, Problem> {
        let Some(found) = self.0.remove(name) else {
            return Ok(of[0]);
        };
        let choice = of.iter().find(|choice| found.as_str() == Some(choice));
        choice
            .copied()
            .ok_or_else(|| mistake(name, false, &format!("one of {}", of.join(", "))))
    }

    /// There is nothing else.
    ///
    /// # Errors
    /// [`Problem`] where there is.
    pub fn end(self) -> Result<(), Problem> {
        match self.0.len() {
            0 => Ok(()),
            n => Err(Problem::invalid(format!(
                "The body has {n} fields that are not known here."
            ))),
        }
    }
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or("");
        let essence = kind.split(';').next().unwrap_or("").trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            let message = "Send the body as `Content-Type: application/json`.";
            let code = "UNSUPPORTED_MEDIA_TYPE";
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                code,
                message,
            ));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(unread)?;
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            _ => Err(Problem::invalid("The body is not a JSON object.")),
        }
    }
}

/// 5, and also 5.0: JSON does not tell them apart, and neither does a fingerprint.
fn whole(value: &Value) -> Option<u64> {
    // Up to here a double holds every whole number.
    let exact = 0.0..9_007_199_254_740_992.0;
    let double = value
        .as_f64()
        .filter(|n| exact.contains(n) && n.fract() == 0.0);
    value.as_u64().or(double.map(|n| n as u64))
}

fn unread(rejection: BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let message = format!("The body is longer than {BODY_LIMIT} bytes.");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", message)
    } else {
        Problem::invalid("The body did not arrive whole.")
    }
}

fn mistake(name: &str, missing: bool, expected: &str) -> Problem {
    let wrong = if missing {
        "is missing"
    } else {
        "is not right"
    };
    Problem::invalid(format!("The field `{name}` {wrong}."))
        .detail("field", name)
        .detail("expected", expected)
}
