//! A case as it is written: every member of the format, and nothing else.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A file of cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Topic {
    #[serde(rename = "about")]
    _about: String,
    pub(crate) cases: Vec<Case>,
}

/// Reads the cases of a topic.
pub(crate) fn read(topic: &str) -> Vec<Case> {
    let topic: Topic = parsed(&format!("{topic}.json"));
    topic.cases
}

/// Reads a file that lies beside the cases.
pub(crate) fn parsed<T: for<'a> Deserialize<'a>>(name: &str) -> T {
    let path = folder().join(name);
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Where the cases lie.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Case {
    pub(crate) name: String,
    #[serde(default = "everywhere")]
    pub(crate) routes: BTreeMap<String, Option<Route>>,
    #[serde(default)]
    pub(crate) policy: PolicySpans,
    /// What a layer outside writes into every answer.
    #[serde(default)]
    pub(crate) outer: Vec<(String, String)>,
    #[serde(default = "counting")]
    pub(crate) handler: Vec<Script>,
    pub(crate) steps: Vec<Step>,
    /// How often the handler has run in the end.
    pub(crate) runs: usize,
}

fn everywhere() -> BTreeMap<String, Option<Route>> {
    [("*".to_owned(), Some(Route::default()))].into()
}

fn counting() -> Vec<Script> {
    vec![Script {
        status: 201,
        headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
        body: Body::Text("{run}".to_owned()),
        ..Script::default()
    }]
}

/// The options of the middleware, on one path.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct Route {
    pub(crate) scope: ScopeOf,
    pub(crate) required: bool,
    pub(crate) methods: Option<Vec<String>>,
    pub(crate) statuses: Statuses,
    pub(crate) headers: Vec<String>,
    pub(crate) profile: Profile,
    pub(crate) strict: bool,
    pub(crate) body_limit: Option<usize>,
    pub(crate) response_limit: Option<usize>,
    pub(crate) stream_after: Option<u64>,
    pub(crate) store_timeout: Option<u64>,
    pub(crate) max_owners: Option<usize>,
    pub(crate) fail_open: bool,
    pub(crate) fingerprint: Option<FingerprintOf>,
}

#[derive(Deserialize, Clone)]
#[serde(untagged)]
pub(crate) enum ScopeOf {
    /// `user`, `missing`, `malformed`, `throws`, `unscoped`.
    Named(String),
    /// Of `user`, `tenant`, `method` and `path`.
    Parts(Vec<String>),
}

impl Default for ScopeOf {
    fn default() -> Self {
        Self::Named("user".to_owned())
    }
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FingerprintOf {
    Constant,
    Throws,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Statuses {
    pub(crate) classes: BTreeMap<u8, Disposition>,
    pub(crate) statuses: BTreeMap<u16, Disposition>,
    pub(crate) thrown: Option<Disposition>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Disposition {
    Remember,
    Release,
    Forget,
    Fence,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Profile {
    #[default]
    Default,
    Ietf,
}

/// In milliseconds.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct PolicySpans {
    pub(crate) retention: Option<u64>,
    pub(crate) lease: Option<u64>,
    pub(crate) tombstone: Option<u64>,
    pub(crate) on_lapse: OnLapse,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnLapse {
    #[default]
    Takeover,
    Fence,
}

/// What the handler does in one run.
#[derive(Deserialize, Default, Clone)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct Script {
    pub(crate) wait: Option<String>,
    pub(crate) publish: Option<String>,
    pub(crate) mark_unknown: bool,
    pub(crate) store: Option<Fault>,
    pub(crate) throws: bool,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Body,
}

#[derive(Deserialize, Clone)]
#[serde(untagged)]
pub(crate) enum Body {
    Text(String),
    Hex(Hex),
    Repeat(Repeat),
    Pieces { pieces: Vec<Piece> },
    Echo { echo: Echo },
}

impl Default for Body {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Echo {
    Body,
    Request,
}

/// A part of a body of unknown length, or what happens between two of them.
#[derive(Deserialize, Clone)]
#[serde(untagged)]
pub(crate) enum Piece {
    Text(String),
    Hex(Hex),
    Wait {
        wait: String,
    },
    Throws {
        #[serde(rename = "throws")]
        _throws: bool,
    },
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hex {
    #[serde(deserialize_with = "bytes")]
    pub(crate) hex: Vec<u8>,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(crate) struct Repeat {
    repeat: String,
    times: usize,
}

impl Repeat {
    pub(crate) fn text(&self) -> String {
        self.repeat.repeat(self.times)
    }
}

/// Bytes that are known beforehand.
#[derive(Deserialize, Clone)]
#[serde(untagged)]
pub(crate) enum Content {
    Text(String),
    Hex(Hex),
    Repeat(Repeat),
}

impl Content {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Hex(hex) => hex.hex.clone(),
            Self::Repeat(repeat) => repeat.text().into_bytes(),
        }
    }
}

impl Default for Content {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

/// What becomes of questions to the store.
#[derive(Deserialize, Clone, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    None,
    Lost,
    AnswerLost,
    Full,
    Corrupt,
    Hang,
    /// It is asked when this gate is open.
    Wait(String),
    /// What lies in the slot comes back with this record.
    #[serde(deserialize_with = "bytes")]
    Head(Vec<u8>),
    /// What lies in the slot comes back with this body.
    #[serde(deserialize_with = "bytes")]
    Body(Vec<u8>),
}

/// One step; which one is told by the members that it has.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct Step {
    pub(crate) send: Option<Request>,
    pub(crate) expect: Option<Value>,
    pub(crate) start: Option<String>,
    pub(crate) answer: Option<String>,
    pub(crate) received: Option<String>,
    pub(crate) body: Option<Content>,
    pub(crate) drop: Option<String>,
    pub(crate) race: Option<usize>,
    pub(crate) others: Option<Vec<Value>>,
    pub(crate) open: Option<String>,
    pub(crate) wait: Option<Counts>,
    pub(crate) check: Option<Counts>,
    pub(crate) advance: Option<u64>,
    pub(crate) store: Option<Fault>,
    pub(crate) next: Option<Vec<Fault>>,
}

impl Step {
    /// How many things it says to do.
    pub(crate) fn deeds(&self) -> usize {
        let deeds = [
            self.send.is_some(),
            self.answer.is_some(),
            self.received.is_some(),
            self.drop.is_some(),
            self.open.is_some(),
            self.wait.is_some(),
            self.check.is_some(),
            self.advance.is_some(),
            self.store.is_some(),
            self.next.is_some(),
        ];
        deeds.into_iter().filter(|deed| *deed).count()
    }
}

#[derive(Deserialize, Debug, Clone, Copy, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Counts {
    pub(crate) arrived: Option<usize>,
    pub(crate) runs: Option<usize>,
    pub(crate) asked: Option<usize>,
    pub(crate) won: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) key: Option<Keys>,
    pub(crate) user: Option<String>,
    #[serde(rename = "type")]
    pub(crate) content_type: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Content,
    /// The pieces of a chunked body.
    pub(crate) chunks: Option<Vec<String>>,
    /// What `Content-Length` says instead of the truth.
    pub(crate) length: Option<String>,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            method: "POST".to_owned(),
            path: "/tasks".to_owned(),
            key: None,
            user: Some("ada".to_owned()),
            content_type: Some("application/json".to_owned()),
            headers: Vec::new(),
            body: Content::Text("{}".to_owned()),
            chunks: None,
            length: None,
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Keys {
    One(String),
    Lines(Vec<String>),
    Repeat(Repeat),
}

impl Keys {
    pub(crate) fn lines(&self) -> Vec<String> {
        match self {
            Self::One(key) => vec![key.clone()],
            Self::Lines(keys) => keys.clone(),
            Self::Repeat(repeat) => vec![repeat.text()],
        }
    }
}

/// Each character is a byte: header values are written so.
pub(crate) fn latin1(text: &str) -> Vec<u8> {
    let byte = |c: char| u8::try_from(u32::from(c)).expect("a character beyond Latin-1");
    text.chars().map(byte).collect()
}

fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let digits = String::deserialize(from)?;
    let byte = |at| {
        let pair = digits.get(at..at + 2);
        pair.and_then(|pair| u8::from_str_radix(pair, 16).ok())
    };
    let bytes = (0..digits.len()).step_by(2).map(byte).collect();
    Option::ok_or(bytes, serde::de::Error::custom("not hex digits"))
}
