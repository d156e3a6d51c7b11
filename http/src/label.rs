//! [`json_label`]: what the events call `task`.

use idemp::http::StoredResponse;
use serde_json::{Map, Value};

/// For [`Builder::label`](idemp::Builder::label): the member `name` of the JSON object that a
/// handler answered with, or published.
///
/// Only a number, or a text of at most 128 bytes without control characters, is one to write into
/// a log.
///
/// ```
/// use idemp::{Idempotency, MemoryStore};
///
/// let idem = Idempotency::builder(MemoryStore::new())
///     .observer(|event: &idemp::Event<'_>| println!("{event}"))
///     .label(idemp_tower::json_label("task_id"))
///     .build();
/// ```
pub fn json_label(
    name: impl Into<String>,
) -> impl Fn(&[u8]) -> Option<String> + Send + Sync + 'static {
    let name = name.into();
    move |outcome| {
        let stored = StoredResponse::decode(outcome);
        let json = stored.as_ref().map_or(outcome, StoredResponse::body);
        match serde_json::from_slice::<Map<String, Value>>(json)
            .ok()?
            .get(&name)?
        {
            Value::Number(number) => Some(number.to_string()),
            Value::String(text) => {
                let fits = text.len() <= 128 && !text.chars().any(char::is_control);
                fits.then(|| text.clone())
            }
            _ => None,
        }
    }
}
