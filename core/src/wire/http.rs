//! The HTTP rules, and all of the fingerprint, for servers in other languages. Pages do without: this
//! is not in the build for them (`cfg(idemp_small)`).
//!
//! What is asked for each request is bytes; what is asked seldom is JSON: `{"ok": …}`, or
//! `{"error": name}` where the rule refuses, with names in camel case and bytes in hex. A body never
//! crosses, but for that of a fingerprint.
//!
//! ```text
//! function = 16 mode text -> canonical form
//!          | 17 mode flag:strict flag:raw {0 | 1 text}:method,path,query,content-type
//!               pairs:headers pairs:parts {0 | 1 texts}:select,exclude body
//!               -> fingerprint of a request, 33 bytes
//!          | 18 flag:strict texts:values of the key header -> ruled (0 | 1 key)
//!          | 19 {key} -> the key as a header
//!          | 20 {classes, statuses, thrown, status} -> what becomes of the slot
//!          | 21 status:2 body-length:8 texts:allow pairs:headers
//!               -> ruled, what stands before a stored body
//!          | 22 length:8 head -> ruled, of a replay: status:2 body-at:4 (0 | 1 body-length:8)
//!               pairs:headers; `head` is the beginning of what is stored, `length` all of its length
//!          | 23 {code, profile, requestId, key, retryAfterSeconds} -> {status, headers, body}
//!          | 24 {adopt, random} -> a request's id
//! mode     = 0 exact | 1 RFC 8785 | 2 RFC 8785 with integers checked
//! text     = length:4 bytes
//! texts    = count:2 text…
//! pairs    = count:2 (text:name text:value)…
//! ruled    = 0 name of what is wrong | 1 answer
//! ```

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Refused;
use super::codec::{Reader, Writer};
use crate::canonical::{NumberMode, PointerError, canonicalize};
use crate::fingerprint::FingerprintBuilder;
use crate::hex::from_hex;
use crate::http::{
    Disposition, HeaderFilter, Profile, Refusal, RequestId, StatusTable, StoredResponse,
    Strictness, format_key_header, parse_idempotency_key,
};
use crate::key::Key;

type Answered = Result<(), Refused>;

pub(super) fn call(function: u8, question: &[u8], out: &mut Writer) -> Answered {
    match function {
        16 => canonical(question, out),
        17 => fingerprint(question, out),
        18 => key_of_header(question, out),
        19 => rule(question, out, header_of_key),
        20 => rule(question, out, disposition),
        21 => stored(question, out),
        22 => replayed(question, out),
        23 => rule(question, out, refusal),
        24 => rule(question, out, request_id),
        _ => Err(Refused::MALFORMED),
    }
}

/// Bytes in hex.
#[derive(Deserialize)]
struct Hex(#[serde(deserialize_with = "from_hex")] Vec<u8>);

/// A rule that says no has a name for it.
type Ruled = Result<Value, String>;

fn rule<'q, Q: Deserialize<'q>>(
    question: &'q [u8],
    out: &mut Writer,
    answer: impl FnOnce(Q) -> Ruled,
) -> Answered {
    let question = serde_json::from_slice(question).map_err(|_| Refused::MALFORMED)?;
    let answer = match answer(question) {
        Ok(ok) => json!({ "ok": ok }),
        Err(error) => json!({ "error": error }),
    };
    out.bytes(answer.to_string().as_bytes());
    Ok(())
}

fn named(error: impl Display) -> String {
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

fn canonical(question: &[u8], out: &mut Writer) -> Answered {
    let (&number, text) = question.split_first().ok_or(Refused::MALFORMED)?;
    out.bytes(&canonicalize(text, mode(number)?)?);
    Ok(())
}

fn fingerprint(question: &[u8], out: &mut Writer) -> Answered {
    let mut from = Reader::new(question);
    let mut builder = FingerprintBuilder::new()
        .numbers(mode(from.byte())?)
        .strict(from.flag());
    let raw = from.flag();
    if from.flag() {
        builder = builder.method(utf8(from.text())?);
    }
    if from.flag() {
        builder = builder.path(utf8(from.text())?);
    }
    if from.flag() {
        builder = builder.query(utf8(from.text())?);
    }
    if from.flag() {
        builder = builder.content_type(utf8(from.text())?);
    }
    for _ in 0..from.count() {
        builder = builder.header(utf8(from.text())?, from.text());
    }
    for _ in 0..from.count() {
        builder = builder.part(utf8(from.text())?, from.text());
    }
    if from.flag() {
        builder = builder.select(texts(&mut from)?)?;
    }
    if from.flag() {
        builder = builder.exclude(texts(&mut from)?)?;
    }
    let body = from.rest()?;
    let fingerprint = match raw {
        true => builder.raw(body),
        false => builder.json(body)?,
    };
    out.fingerprint(&fingerprint);
    Ok(())
}

fn utf8(text: &[u8]) -> Result<&str, Refused> {
    std::str::from_utf8(text).map_err(|_| Refused::MALFORMED)
}

fn texts<'a>(from: &mut Reader<'a>) -> Result<Vec<&'a str>, Refused> {
    (0..from.count()).map(|_| utf8(from.text())).collect()
}

fn pairs<'a>(from: &mut Reader<'a>) -> Result<Vec<(&'a str, &'a [u8])>, Refused> {
    (0..from.count())
        .map(|_| Ok((utf8(from.text())?, from.text())))
        .collect()
}

/// Writes the name of what is wrong.
fn refuse(out: &mut Writer, why: impl Display) {
    out.byte(0);
    out.bytes(why.to_string().as_bytes());
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

fn key_of_header(question: &[u8], out: &mut Writer) -> Answered {
    let mut from = Reader::new(question);
    let strictness = match from.flag() {
        true => Strictness::Strict,
        false => Strictness::Lenient,
    };
    let values: Vec<_> = (0..from.count()).map(|_| from.text()).collect();
    from.end()?;
    match parse_idempotency_key(values, strictness) {
        Ok(Some(key)) => {
            out.bytes(&[1, 1]);
            out.bytes(key.as_str().as_bytes());
        }
        Ok(None) => out.bytes(&[1, 0]),
        Err(error) => refuse(out, error.code()),
    }
    Ok(())
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

fn stored(question: &[u8], out: &mut Writer) -> Answered {
    let mut from = Reader::new(question);
    let (status, body_length) = (from.count(), from.number());
    let (allow, headers) = (texts(&mut from)?, pairs(&mut from)?);
    from.end()?;
    let filter = allow
        .iter()
        .try_fold(HeaderFilter::default(), |filter, name| filter.allow(name));
    match filter {
        Ok(filter) => match StoredResponse::new(status, headers, b"", &filter) {
            Ok(response) => {
                out.byte(1);
                out.bytes(&response.head(body_length));
            }
            Err(error) => refuse(out, error.code()),
        },
        Err(error) => refuse(out, error),
    }
    Ok(())
}

fn replayed(question: &[u8], out: &mut Writer) -> Answered {
    let mut from = Reader::new(question);
    let length = from.number();
    match StoredResponse::decode_head(from.rest()?, length) {
        Ok((response, body_at)) => {
            out.byte(1);
            out.bytes(&response.status().to_be_bytes());
            out.bytes(&(body_at as u32).to_be_bytes());
            let tells_length = response.content_length().is_some();
            out.byte(tells_length.into());
            if tells_length {
                out.number(length - body_at as u64);
            }
            out.bytes(&(response.replay_headers().count() as u16).to_be_bytes());
            for (name, value) in response.replay_headers() {
                out.text(name.as_bytes());
                out.text(value);
            }
        }
        Err(error) => refuse(out, error.code()),
    }
    Ok(())
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
