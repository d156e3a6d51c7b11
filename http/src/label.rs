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

#[cfg(test)]
mod tests {
    use super::*;
    use idemp::http::HeaderFilter;

    fn label_of(json: &str) -> Option<String> {
        let filter = HeaderFilter::default();
        let stored = StoredResponse::new(201, [], json.as_bytes(), &filter).unwrap();
        let label = json_label("id");
        let of_published = label(json.as_bytes());
        assert_eq!(label(&stored.encode()), of_published, "the same in both");
        of_published
    }

    #[test]
    fn a_label_is_what_is_written_down_and_what_is_not_one_to_log_is_none() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/labels.json");
        let text = std::fs::read_to_string(path).unwrap();
        let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
        assert!(rows.len() > 30);
        for row in rows {
            let label = label_of(row["json"].as_str().unwrap());
            assert_eq!(label.as_deref(), row["label"].as_str(), "{}", row["name"]);
        }
    }
}
