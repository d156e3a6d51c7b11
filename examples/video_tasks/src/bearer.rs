//! [`User`]: who is asking.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::problem::Problem;

/// A user. Here the bearer token is the user's name; in earnest it would be verified.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct User(String);

impl User {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Reads `Authorization: Bearer NAME` (RFC 6750, section 2.1).
    fn of(headers: &HeaderMap) -> Option<Self> {
        let mut all = headers.get_all(AUTHORIZATION).iter();
        let value = all.next()?.to_str().ok()?;
        if all.next().is_some() {
            return None;
        }
        let (scheme, name) = value.split_once(' ')?;
        let known = |c: u8| c.is_ascii_alphanumeric() || b"-._".contains(&c);
        let fits = (1..=Self::MAX_BYTES).contains(&name.len()) && name.bytes().all(known);
        (scheme.eq_ignore_ascii_case("bearer") && fits).then(|| Self(name.to_owned()))
    }
}

/// Lets nobody in whom it does not know. It stands before the idempotency layer, which then finds
/// the [`User`] among the extensions: a replay goes only to whom the first answer went.
///
/// # Errors
/// [`Problem`] where the bearer token is missing or malformed.
pub async fn known(mut request: Request, next: Next) -> Result<Response, Problem> {
    let user = User::of(request.headers()).ok_or_else(Problem::unauthenticated)?;
    request.extensions_mut().insert(user);
    Ok(next.run(request).await)
}
