//! [`ScopeError`]: why a request has no scope.

use idemp::KeyError;
use thiserror::Error;

/// Why a request has no scope. It is refused: there is no shared default.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ScopeError {
    /// The caller is nobody: status 401. The layer that authenticates should have said so.
    #[error("the caller is not authenticated")]
    Unauthenticated,
    /// What the scope is made of is not there, usually since a layer that provides it is missing:
    /// status 500.
    #[error("the request has no scope")]
    Missing,
    /// A part of the scope is empty, too long or malformed: status 500.
    #[error("a part of the scope is malformed")]
    Malformed(#[from] KeyError),
}
