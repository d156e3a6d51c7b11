//! The rules of the `Idempotency-Key` header as data: for any framework, with no HTTP library.
//!
//! A layer asks them in the order of a request:
//!
//! 1. [`Methods`]: is this request one to make idempotent? Any other passes untouched.
//! 2. [`parse_idempotency_key`] reads the header; [`KeyRequirement`] says what becomes of a
//!    request without one.
//! 3. A decision that is not to execute becomes a [`Refusal`], and that an [`ErrorAnswer`] in one
//!    of two [`Profile`]s, with the [`RequestId`] of the present request.
//! 4. After an execution the [`StatusTable`] gives the [`Disposition`] of the slot.
//! 5. What is remembered is a [`StoredResponse`], with the headers that a [`HeaderFilter`] keeps;
//!    a replay gives it back byte for byte, with [`REPLAY_MARKS`].
//!
//! ```
//! use idemp::http::{
//!     Disposition, HeaderFilter, Profile, Refusal, RequestId, StatusTable, StoredResponse,
//!     Strictness, parse_idempotency_key,
//! };
//!
//! let id = RequestId::from_random([0x2f, 0xc6, 0xdf, 0xe5]);
//! let key = parse_idempotency_key([&b"final-1769660861"[..]], Strictness::default());
//! assert_eq!(key.unwrap().unwrap().as_str(), "final-1769660861");
//!
//! // A list is refused, and the client is told what to send.
//! assert!(parse_idempotency_key([&b"a, b"[..]], Strictness::default()).is_err());
//! assert_eq!(Refusal::KeyInvalid.answer(Profile::Default, &id, None).status, 400);
//!
//! // The handler has run.
//! let (status, headers, body) = (201, [("Location", &b"/tasks/1"[..])], b"{\"id\":1}");
//! assert_eq!(StatusTable::default().disposition(status), Disposition::Remember);
//! let stored = StoredResponse::new(status, headers, body, &HeaderFilter::default())?.encode();
//!
//! // A retry gets the same answer, and is told so.
//! let replay = StoredResponse::decode(&stored)?;
//! assert_eq!((replay.status(), replay.body()), (201, &body[..]));
//! assert!(replay.replay_headers().any(|header| header == ("idempotent-replayed", b"true")));
//! # Ok::<(), idemp::http::StoredResponseError>(())
//! ```

mod answer;
mod filter;
mod header;
mod item;
mod method;
mod refusal;
mod request_id;
mod response;
mod status;
pub(crate) mod token;

pub use answer::ErrorAnswer;
pub use filter::{HeaderFilter, HeaderFilterError};
pub use header::{
    KEY_HEADER, KeyHeaderError, Strictness, format_key_header, parse_idempotency_key,
};
pub use method::{KeyRequirement, MethodError, Methods};
pub use refusal::{Profile, Refusal};
pub use request_id::{RequestId, RequestIdError};
pub use response::{REPLAY_MARKS, StoredResponse, StoredResponseError};
pub use status::{Disposition, StatusTable, StatusTableBuilder, StatusTableError};
