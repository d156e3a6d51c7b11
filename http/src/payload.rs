//! The default fingerprint of a request.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use idemp::{Fingerprint, Key};

/// Of the method, the path, the query with its pairs in order, the content type and the body.
pub(crate) fn fingerprint(parts: &Parts, body: &Bytes) -> Fingerprint {
    let query = sorted(parts.uri.query());
    let content_type = parts.headers.get_all(CONTENT_TYPE);
    let content_type: Vec<_> = content_type.iter().map(|value| value.as_bytes()).collect();
    let framed = Key::digest([
        parts.method.as_str().as_bytes(),
        parts.uri.path().as_bytes(),
        query.as_bytes(),
        &content_type.join(&b'\n'),
        body,
    ]);
    let digest = framed.expect("there are parts");
    Fingerprint::of_value(digest.as_str()).expect("text is always json")
}

fn sorted(query: Option<&str>) -> String {
    let Some(query) = query else {
        return String::new();
    };
    let mut pairs: Vec<_> = query.split('&').collect();
    pairs.sort_unstable();
    ["?", &pairs.join("&")].concat()
}
