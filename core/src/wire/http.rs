//! The HTTP rules, and all of the fingerprint, for servers in other languages. Pages do without: this
//! is not in the build for them (`cfg(idemp_small)`).
//!
//! Questions and answers are JSON: `{"ok": …}`, or `{"error": name}` where the rule refuses. Names are
//! in camel case, bytes in hex. A body never crosses, but for that of a fingerprint.
//!
//! ```text
//! function = 16 mode text -> canonical form; mode 0 exact, 1 RFC 8785, 2 with integers checked
//!          | 17 length:4 rules body -> fingerprint of a request, 33 bytes
//!          | 18 key header: {values, strict} -> null or the key
//!          | 19 {key} -> the key as a header
//!          | 20 {classes, statuses, thrown, status} -> what becomes of the slot
//!          | 21 {status, headers, allow, bodyLength} -> what stands before a stored body
//!          | 22 {head, length} -> {status, headers, bodyAt, contentLength} of a replay
//!          | 23 {code, profile, requestId, key, retryAfterSeconds} -> {status, headers, body}
//!          | 24 {adopt, random} -> a request's id
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Refused;
use super::codec::Reader;
use crate::canonical::{NumberMode, PointerError, canonicalize};
use crate::fingerprint::FingerprintBuilder;
use crate::hex::{from_hex, hex};
use crate::http::{
    Disposition, HeaderFilter, Profile, Refusal, RequestId, StatusTable, StoredResponse,
    Strictness, format_key_header, parse_idempotency_key,
};
use crate::key::Key;

type Answer = Result<Vec<u8>, Refused>;

pub(super) fn call(function: u8, question: &[u8]) -> Answer {
    match function {
        16 => canonical(question),
        17 => fingerprint(question),
        18 => rule(question, key_of_header),
        19 => rule(question, header_of_key),
        20 => rule(question, disposition),
        21 => rule(question, stored),
        22 => rule(question, replayed),
        23 => rule(question, refusal),
        24 => rule(question, request_id),
        _ => Err(Refused::MALFORMED),
    }
}

/// Bytes in hex.
#[derive(Deserialize)]
struct Hex(#[serde(deserialize_with = "from_hex")] Vec<u8>);

/// A rule that says no has a name for it.
type Ruled = Result<Value, String>;

fn rule<'q, Q: Deserialize<'q>>(question: &'q [u8], answer: impl FnOnce(Q) -> Ruled) -> Answer {
    let question = serde_json::from_slice(question).map_err(|_| Refused::MALFORMED)?;
    let answer = match answer(question) {
        Ok(ok) => json!({ "ok": ok }),
        Err(error) => json!({ "error": error }),
    };
    Ok(answer.to_string().into_bytes())
}

fn named(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn mode(number: u8) -> Result<NumberMode, Refused> {
    match number {
        0 => Ok(NumberMode::Exact),
        1 => Ok(NumberMode::Rfc8785),
        2 => Ok(NumberMode::Rfc8785Strict),
        _ => Err(Refused::MALFORMED),
    }
}

fn canonical(question: &[u8]) -> Answer {
    let (&number, text) = question.split_first().ok_or(Refused::MALFORMED)?;
    Ok(canonicalize(text, mode(number)?)?.into_owned())
}

/// What counts in a request beside its body.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[derive(Default)]
struct Rules<'a> {
    numbers: u8,
    strict: bool,
    method: Option<&'a str>,
    path: Option<String>,
    query: Option<String>,
    content_type: Option<String>,
    headers: Vec<(String, Hex)>,
    parts: Vec<(String, Hex)>,
    select: Option<Vec<String>>,
    exclude: Option<Vec<String>>,
    /// The body is not JSON.
    raw: bool,
}

fn fingerprint(question: &[u8]) -> Answer {
    let mut from = Reader::new(question);
    let length = from.length();
    let rules = from.bytes(length);
    let body = from.rest();
    let rules: Rules<'_> = serde_json::from_slice(rules).map_err(|_| Refused::MALFORMED)?;
    let mut builder = FingerprintBuilder::new()
        .numbers(mode(rules.numbers)?)
        .strict(rules.strict);
    if let Some(method) = rules.method {
        builder = builder.method(method);
    }
    if let Some(path) = &rules.path {
        builder = builder.path(path);
    }
    if let Some(query) = &rules.query {
        builder = builder.query(query);
    }
    if let Some(content_type) = &rules.content_type {
        builder = builder.content_type(content_type);
    }
    for (name, Hex(value)) in &rules.headers {
        builder = builder.header(name, value);
    }
    for (name, Hex(value)) in &rules.parts {
        builder = builder.part(name, value);
    }
    if let Some(select) = &rules.select {
        builder = builder.select(select)?;
    }
    if let Some(exclude) = &rules.exclude {
        builder = builder.exclude(exclude)?;
    }
    let fingerprint = match rules.raw {
        true => builder.raw(body),
        false => builder.json(body)?,
    };
    Ok([&[fingerprint.version()], &fingerprint.digest()[..]].concat())
}

impl From<PointerError> for Refused {
    fn from(error: PointerError) -> Self {
        Self::code(match error {
            PointerError::Slash => 80,
            PointerError::Escape => 81,
            PointerError::Whole => 82,
            PointerError::NothingSelected => 83,
        })
    }
}

#[derive(Deserialize)]
struct KeyHeader {
    values: Vec<Hex>,
    strict: bool,
}

fn key_of_header(header: KeyHeader) -> Ruled {
    let strictness = match header.strict {
        true => Strictness::Strict,
        false => Strictness::Lenient,
    };
    let values = header.values.iter().map(|Hex(value)| value.as_slice());
    match parse_idempotency_key(values, strictness) {
        Ok(key) => Ok(json!(key.as_ref().map(Key::as_str))),
        Err(error) => Err(error.code().to_string()),
    }
}

#[derive(Deserialize)]
struct OneKey {
    key: String,
}

fn header_of_key(OneKey { key }: OneKey) -> Ruled {
    let key = Key::new(key).map_err(named)?;
    match format_key_header(&key) {
        Ok(header) => Ok(json!(header)),
        Err(error) => Err(error.code().to_string()),
    }
}

/// [`Disposition`] on the wire.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Becomes {
    Remember,
    Release,
    Forget,
    Fence,
}

impl From<Becomes> for Disposition {
    fn from(becomes: Becomes) -> Self {
        match becomes {
            Becomes::Remember => Self::Remember,
            Becomes::Release => Self::Release,
            Becomes::Forget => Self::Forget,
            Becomes::Fence => Self::Fence,
        }
    }
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct Statuses {
    /// By first digit.
    classes: BTreeMap<u8, Becomes>,
    statuses: BTreeMap<u16, Becomes>,
    thrown: Option<Becomes>,
    /// None where the handler threw.
    status: Option<u16>,
}

fn disposition(asked: Statuses) -> Ruled {
    let mut table = StatusTable::builder();
    for (class, becomes) in asked.classes {
        table = table.class(class, becomes.into());
    }
    for (status, becomes) in asked.statuses {
        table = table.status(status, becomes.into());
    }
    if let Some(becomes) = asked.thrown {
        table = table.throws(becomes.into());
    }
    let table = table.build().map_err(named)?;
    let disposition = match asked.status {
        Some(status) => table.disposition(status),
        None => table.disposition_of_throw(),
    };
    Ok(json!(match disposition {
        Disposition::Remember => Becomes::Remember,
        Disposition::Release => Becomes::Release,
        Disposition::Forget => Becomes::Forget,
        Disposition::Fence => Becomes::Fence,
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToStore {
    status: u16,
    headers: Vec<(String, Hex)>,
    #[serde(default)]
    allow: Vec<String>,
    body_length: u64,
}

fn stored(response: ToStore) -> Ruled {
    let filter = response
        .allow
        .iter()
        .try_fold(HeaderFilter::default(), |filter, name| filter.allow(name))
        .map_err(named)?;
    let headers = response
        .headers
        .iter()
        .map(|(name, Hex(value))| (name.as_str(), value.as_slice()));
    match StoredResponse::new(response.status, headers, b"", &filter) {
        Ok(stored) => Ok(json!(hex(&stored.head(response.body_length)))),
        Err(error) => Err(error.code().to_string()),
    }
}

#[derive(Deserialize)]
struct Stored {
    /// The beginning of what is stored: all of it, or as much as a head can be.
    head: Hex,
    /// Of all that is stored, in bytes.
    length: u64,
}

fn replayed(Stored { head, length }: Stored) -> Ruled {
    let (response, body_at) =
        StoredResponse::decode_head(&head.0, length).map_err(|error| error.code().to_string())?;
    let headers: Vec<_> = response
        .replay_headers()
        .map(|(name, value)| (name, hex(value)))
        .collect();
    let body_length = length - body_at as u64;
    Ok(json!({
        "status": response.status(),
        "headers": headers,
        "bodyAt": body_at,
        "contentLength": response.content_length().map(|_| body_length),
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToRefuse {
    code: String,
    profile: Told,
    request_id: String,
    key: Option<String>,
    #[serde(default)]
    retry_after_seconds: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Told {
    Default,
    Ietf,
}

fn refusal(asked: ToRefuse) -> Ruled {
    let retry_after_seconds = asked.retry_after_seconds.unwrap_or_default();
    let refusal = Refusal::from_code(&asked.code, retry_after_seconds).ok_or("unknown_code")?;
    let profile = match asked.profile {
        Told::Default => Profile::Default,
        Told::Ietf => Profile::Ietf,
    };
    let id = RequestId::new(&asked.request_id).map_err(named)?;
    let key = asked.key.map(Key::new).transpose().map_err(named)?;
    let answer = refusal.answer(profile, &id, key.as_ref());
    Ok(json!({ "status": answer.status, "headers": answer.headers, "body": answer.body }))
}

#[derive(Deserialize)]
struct ToName {
    /// An id that came with the request.
    adopt: Option<String>,
    /// Four random bytes, for where none came, or none to adopt.
    random: Hex,
}

fn request_id(ToName { adopt, random }: ToName) -> Ruled {
    let adopted = adopt.and_then(|id| RequestId::new(&id).ok());
    let made = || <[u8; 4]>::try_from(random.0.as_slice()).map(RequestId::from_random);
    match adopted.map_or_else(made, Ok) {
        Ok(id) => Ok(json!(id.as_str())),
        Err(_) => Err("random".to_string()),
    }
}
