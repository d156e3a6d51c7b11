//! What a case expects of an answer, and whether it is that.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::case::{Content, Profile, latin1, parsed};
use crate::client::Answer;

/// An expected answer: one of the handler, or a refusal by its code.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct Expected {
    status: u16,
    headers: Vec<(String, String)>,
    body: Content,
    /// The marks of a replay stand behind the headers.
    replayed: bool,
    /// The connection ends before the answer is whole.
    broken: bool,
    refused: Option<String>,
    profile: Profile,
    /// What a refusal shows of the key.
    key: String,
    /// The one that the request came with; without it, one that was made.
    request_id: Option<String>,
    /// The least and the most seconds.
    retry_after: Option<(u64, u64)>,
}

impl Default for Expected {
    fn default() -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body: Content::default(),
            replayed: false,
            broken: false,
            refused: None,
            profile: Profile::default(),
            key: String::new(),
            request_id: None,
            retry_after: None,
        }
    }
}

/// How refusals are told: `refusals.json`, by profile and code.
pub(crate) struct Refusals(BTreeMap<String, BTreeMap<String, Refusal>>);

#[derive(Deserialize)]
struct Refusal {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Refusals {
    pub(crate) fn read() -> Self {
        Self(parsed("refusals.json"))
    }

    fn of(&self, profile: Profile, code: &str) -> &Refusal {
        let profile = match profile {
            Profile::Default => "default",
            Profile::Ietf => "ietf",
        };
        let told = self.0.get(profile).and_then(|told| told.get(code));
        told.unwrap_or_else(|| panic!("refusals.json has no {code} in {profile}"))
    }
}

/// By name in lower case, the values of one name in their order.
type Headers = BTreeMap<String, Vec<Vec<u8>>>;

impl Expected {
    /// What is wrong with the answer, if anything.
    pub(crate) fn differs(&self, answer: Option<&Answer>, refusals: &Refusals) -> Option<String> {
        let Some(answer) = answer else {
            let shown = "the connection ended without an answer".to_owned();
            return (!self.broken).then_some(shown);
        };
        if self.broken {
            return answer
                .whole
                .then(|| format!("a whole answer: {}", shown(answer)));
        }
        let (expected, own) = self.told(answer, refusals);
        let wrong = [
            (!answer.whole).then(|| "it broke off".to_owned()),
            different("status", &expected.status, &answer.status),
            different("headers", &texts(&expected.headers), &texts(&left(answer))),
            (expected.body != answer.body).then(|| {
                let text = String::from_utf8_lossy(&expected.body).into_owned();
                format!("body: expected {text}")
            }),
            wrong_length(answer, own),
        ];
        let wrong: Vec<_> = wrong.into_iter().flatten().collect();
        (!wrong.is_empty()).then(|| format!("{}\n  it was: {}", wrong.join("\n  "), shown(answer)))
    }

    /// What the answer has to be, and whether it is one of the layer's own.
    fn told(&self, answer: &Answer, refusals: &Refusals) -> (Told, bool) {
        let mut headers = Headers::new();
        let mut add = |name: &str, value: Vec<u8>| {
            headers
                .entry(name.to_ascii_lowercase())
                .or_default()
                .push(value);
        };
        for (name, value) in &self.headers {
            add(name, latin1(value));
        }
        let Some(code) = &self.refused else {
            if self.replayed {
                add("idempotent-replayed", b"true".to_vec());
                add("cache-control", b"no-store".to_vec());
            }
            let (status, body) = (self.status, self.body.bytes());
            let told = Told {
                status,
                headers,
                body,
            };
            return (told, self.replayed);
        };
        let refusal = refusals.of(self.profile, code);
        for (name, value) in &refusal.headers {
            add(name, latin1(value));
        }
        let id = self.request_id.clone().unwrap_or_else(|| made_id(answer));
        add("x-request-id", id.clone().into_bytes());
        if let Some((least, most)) = self.retry_after {
            let said = left(answer)
                .remove("retry-after")
                .unwrap_or_default()
                .concat();
            let said = String::from_utf8_lossy(&said).into_owned();
            let fits = said
                .parse()
                .is_ok_and(|said| (least..=most).contains(&said));
            let expected = if fits {
                said
            } else {
                format!("{least} to {most}")
            };
            add("retry-after", expected.into_bytes());
        }
        let body = refusal
            .body
            .replace("{requestId}", &id)
            .replace("{key}", &self.key);
        let told = Told {
            status: refusal.status,
            headers,
            body: body.into_bytes(),
        };
        (told, true)
    }
}

struct Told {
    status: u16,
    headers: Headers,
    body: Vec<u8>,
}

/// The id of the answer where it is one that was made, else what one looks like.
fn made_id(answer: &Answer) -> String {
    let id = left(answer)
        .remove("x-request-id")
        .unwrap_or_default()
        .concat();
    let id = String::from_utf8_lossy(&id).into_owned();
    let digits = id.strip_prefix("req_").unwrap_or_default();
    let made = digits.len() == 8
        && digits
            .bytes()
            .all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    if made {
        id
    } else {
        "req_ and 8 hex digits".to_owned()
    }
}

/// Without those that belong to the server and the connection. What `README.md` says of them is
/// said here.
fn left(answer: &Answer) -> Headers {
    const OF_THE_SERVER: [&str; 5] = [
        "date",
        "connection",
        "keep-alive",
        "transfer-encoding",
        "content-length",
    ];
    let mut headers = Headers::new();
    for (name, value) in &answer.headers {
        let name = name.to_ascii_lowercase();
        if !OF_THE_SERVER.contains(&name.as_str()) {
            headers.entry(name).or_default().push(value.clone());
        }
    }
    headers
}

/// A length that is told is the true one; the layer's own answers tell it.
fn wrong_length(answer: &Answer, own: bool) -> Option<String> {
    let named = |wanted: &str| {
        let mut headers = answer.headers.iter();
        headers.find(|(name, _)| name.eq_ignore_ascii_case(wanted))
    };
    let without = matches!(answer.status, 204 | 304);
    match named("content-length") {
        Some(_) if without => Some("a content-length where there is no body".to_owned()),
        Some(_) if answer.head_only => None,
        Some((_, length)) => {
            let true_length = answer.body.len().to_string();
            (length != true_length.as_bytes()).then(|| "another content-length".to_owned())
        }
        None => (own && !without).then(|| "no content-length".to_owned()),
    }
}

fn texts(headers: &Headers) -> BTreeMap<&str, Vec<String>> {
    let text = |value: &Vec<u8>| value.iter().map(|byte| char::from(*byte)).collect();
    headers
        .iter()
        .map(|(name, values)| (name.as_str(), values.iter().map(text).collect()))
        .collect()
}

fn different<T: std::fmt::Debug + PartialEq>(what: &str, expected: &T, was: &T) -> Option<String> {
    (expected != was).then(|| format!("{what}: expected {expected:?}"))
}

fn shown(answer: &Answer) -> String {
    let headers: Vec<_> = answer
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)))
        .collect();
    let body = String::from_utf8_lossy(&answer.body);
    format!("{} {headers:?} {body}", answer.status)
}
