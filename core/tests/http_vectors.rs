//! The HTTP rules against the vectors in `tests/vectors`, which other languages run too.

use idemp::Key;
use idemp::http::{
    HeaderFilter, KeyHeaderError, Profile, Refusal, RequestId, StoredResponse, Strictness,
    parse_idempotency_key,
};
use serde_json::{Value, json};

fn rows(file: &str, list: &str) -> Vec<Value> {
    let path = format!("{}/../tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect(file);
    let mut whole: Value = serde_json::from_str(&text).expect(file);
    let rows = serde_json::from_value::<Vec<Value>>(whole[list].take()).expect(list);
    assert!(!rows.is_empty(), "{file} has no {list}");
    rows
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn status(value: &Value) -> u16 {
    value.as_u64().unwrap().try_into().unwrap()
}

fn bytes(hex: &Value) -> Vec<u8> {
    let digits = text(hex).as_bytes().chunks_exact(2);
    assert!(digits.remainder().is_empty());
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn every_key_header_is_read_as_written_down() {
    for row in rows("key_header.json", "cases") {
        let values: Vec<_> = row["values"]
            .as_array()
            .unwrap()
            .iter()
            .map(bytes)
            .collect();
        for (name, strictness) in [
            ("lenient", Strictness::Lenient),
            ("strict", Strictness::Strict),
        ] {
            let read = parse_idempotency_key(values.iter().map(Vec::as_slice), strictness);
            let read = match read {
                Ok(None) => Value::Null,
                Ok(Some(key)) => json!({"key": key.as_str()}),
                Err(error) => json!({"error": error.code()}),
            };
            assert_eq!(read, row[name], "{}, {name}", row["name"]);
        }
    }
}

#[test]
fn every_error_of_the_key_header_has_a_row() {
    let rows = rows("key_header.json", "cases");
    for error in [
        KeyHeaderError::Repeated,
        KeyHeaderError::List,
        KeyHeaderError::Empty,
        KeyHeaderError::TooLong,
        KeyHeaderError::NotPrintable,
        KeyHeaderError::Unclosed,
        KeyHeaderError::NotQuoted,
        KeyHeaderError::Malformed,
    ] {
        let shown = rows
            .iter()
            .any(|row| row["strict"]["error"] == error.code());
        assert!(shown, "{error:?}");
    }
}

#[test]
fn the_bytes_of_a_stored_response_do_not_change() {
    for row in rows("stored_response.json", "cases") {
        let name = &row["name"];
        let (body, encoded) = (bytes(&row["body"]), bytes(&row["encoded"]));
        let headers = row["headers"].as_array().unwrap().iter();
        let headers: Vec<_> = headers.map(|h| (text(&h[0]), bytes(&h[1]))).collect();
        let headers = || {
            headers
                .iter()
                .map(|(name, value)| (*name, value.as_slice()))
        };

        let filter = HeaderFilter::default();
        let fresh = StoredResponse::new(status(&row["status"]), headers(), &body, &filter).unwrap();
        assert_eq!(*fresh.encode(), *encoded, "{name}");
        let stored = StoredResponse::decode(&encoded).unwrap();
        assert_eq!(stored.status(), status(&row["status"]), "{name}");
        assert_eq!(stored.body(), body, "{name}");
        assert!(stored.headers().eq(headers()), "{name}");
    }
}

#[test]
fn damaged_and_later_bytes_are_refused_by_name() {
    for row in rows("stored_response.json", "refused") {
        let encoded = bytes(&row["encoded"]);
        let error = StoredResponse::decode(&encoded).unwrap_err();
        assert_eq!(error.code(), text(&row["error"]), "{}", row["name"]);
    }
}

#[test]
fn every_error_answer_is_as_written_down() {
    for row in rows("http_errors.json", "cases") {
        let retry_after_seconds = row["retryAfterSeconds"].as_u64();
        let refusal = match text(&row["code"]) {
            "IDEMPOTENCY_KEY_CONFLICT" => Refusal::Conflict,
            "IDEMPOTENCY_IN_PROGRESS" => Refusal::InProgress {
                retry_after_seconds: retry_after_seconds.unwrap(),
            },
            "IDEMPOTENCY_OUTCOME_UNKNOWN" => Refusal::OutcomeUnknown,
            "IDEMPOTENCY_KEY_MISSING" => Refusal::KeyMissing,
            "IDEMPOTENCY_KEY_INVALID" => Refusal::KeyInvalid,
            "IDEMPOTENCY_KEY_EXPIRED" => Refusal::KeyExpired,
            "IDEMPOTENCY_BODY_TOO_LARGE" => Refusal::BodyTooLarge,
            "IDEMPOTENCY_STORE_UNAVAILABLE" => Refusal::StoreUnavailable,
            "IDEMPOTENCY_OVERLOADED" => Refusal::Overloaded {
                retry_after_seconds: retry_after_seconds.unwrap(),
            },
            code => panic!("no refusal has the code {code}"),
        };
        let profile = match text(&row["profile"]) {
            "default" => Profile::Default,
            "ietf" => Profile::Ietf,
            profile => panic!("there is no profile {profile}"),
        };
        let id = RequestId::new(text(&row["requestId"])).unwrap();
        let key = row["key"].as_str().map(|key| Key::new(key).unwrap());

        let answer = refusal.answer(profile, &id, key.as_ref());
        assert_eq!(answer.status, status(&row["status"]));
        assert_eq!(json!(answer.headers), row["headers"]);
        assert_eq!(answer.body, text(&row["body"]));
    }
}
