//! The default fingerprint of a request.

use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use idemp::{Fingerprint, FingerprintBuilder};

/// Of the method, the path, the query with its parameters sorted by name, the content type and
/// the body: by its canonical form where the content type says JSON, else by its bytes.
pub(crate) fn fingerprint(parts: &Parts, body: &Bytes) -> Fingerprint {
    let mut rules = FingerprintBuilder::new()
        .method(parts.method.as_str())
        .path(parts.uri.path());
    if let Some(query) = parts.uri.query() {
        rules = rules.query(query);
    }
    let mut json = false;
    for value in parts.headers.get_all(CONTENT_TYPE) {
        json = is_json(value);
        rules = match value.to_str() {
            Ok(text) => rules.content_type(text),
            Err(_) => rules.header(CONTENT_TYPE.as_str(), value),
        };
    }
    match json {
        // Only strict rules refuse a body.
        true => rules.json(body).unwrap_or_else(|_| rules.raw(body)),
        false => rules.raw(body),
    }
}

/// `application/json`, or a media type with the suffix `+json` (RFC 6839, section 3.1).
fn is_json(content_type: &HeaderValue) -> bool {
    let essence = content_type.as_bytes().split(|c| *c == b';').next();
    let essence = essence.unwrap_or_default().trim_ascii();
    let suffix = essence.last_chunk::<5>();
    essence.eq_ignore_ascii_case(b"application/json")
        || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case(b"+json"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn of(uri: &str, content_type: Option<&str>, body: &'static str) -> Fingerprint {
        let mut request = Request::post(uri);
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        fingerprint(&parts, &Bytes::from_static(body.as_bytes()))
    }

    const JSON: Option<&str> = Some("application/json");

    #[test]
    fn json_counts_by_its_canonical_form_and_other_bodies_by_their_bytes() {
        for json in [
            "application/json",
            "application/json; charset=utf-8",
            "application/x+JSON",
        ] {
            assert_eq!(
                of("/", Some(json), r#"{"a":1,"b":2}"#),
                of("/", Some(json), r#"{"b":2,"a":1.0}"#)
            );
        }
        for other in [None, Some("text/plain"), Some("application/jsonp")] {
            assert_ne!(
                of("/", other, r#"{"a":1,"b":2}"#),
                of("/", other, r#"{"b":2,"a":1.0}"#)
            );
        }
    }

    #[test]
    fn path_query_and_content_type_count() {
        let first = of("/a?x=1&y=2", JSON, "{}");
        assert_eq!(first, of("/a?y=2&x=1", JSON, "{}"));
        for uri in ["/b?x=1&y=2", "/a/?x=1&y=2", "/a?x=1", "/a?x=2&y=2"] {
            assert_ne!(first, of(uri, JSON, "{}"), "{uri}");
        }
        assert_ne!(first, of("/a?x=1&y=2", None, "{}"));
        assert_ne!(of("/a", JSON, "{}"), of("/a?", JSON, "{}"));
    }
}
