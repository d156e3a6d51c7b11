//! Idempotency as a tower layer.

mod answer;
mod body;
mod collect;
mod detached;
mod execution;
mod inner;
mod label;
mod layer;
mod owner;
mod payload;
mod scope;
mod service;
mod settle;

pub use body::Body;
pub use execution::Execution;
pub use label::json_label;
pub use layer::IdempotencyLayer;
pub use scope::ScopeError;
pub use service::{IdempotencyService, ResponseFuture};

pub use idemp::http::{
    Disposition, HeaderFilter, KeyRequirement, Methods, Profile, StatusTable, Strictness,
};
