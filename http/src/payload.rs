//! The default fingerprint of a request.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use idemp::{Fingerprint, Key};

/// Of the method, the path, the query with its parameters sorted by name, the content type and
/// the body.
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

/// A missing query is not an empty one, and the parameters of one name keep their order.
fn sorted(query: Option<&str>) -> String {
    let Some(query) = query else {
        return String::new();
    };
    let mut parameters: Vec<_> = query.split('&').collect();
    parameters.sort_by_key(|parameter| parameter.split('=').next());
    ["?", &parameters.join("&")].concat()
}
