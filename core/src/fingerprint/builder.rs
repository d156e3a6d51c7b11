//! [`FingerprintBuilder`]: which parts of a request count.

use std::fmt;
use std::ops::Range;

use super::{Fingerprint, Kind, Part, Tag, media_type};
use crate::canonical::{self, CanonicalError, NumberMode, Pointer, PointerError};

/// Says what counts in a request beside its body, and which fields of the body do.
///
/// Parts may be given in any order. Each is length-framed and tagged: `"ab"` and `"c"` is not `"a"`
/// and `"bc"`, a header is not a query parameter, and a part that is missing is not one that is
/// empty. With no part at all, [`json`](Self::json) gives what [`Fingerprint::of_json`] does.
///
/// ```
/// use idemp::{Fingerprint, FingerprintBuilder};
///
/// // Once per route:
/// let rules = FingerprintBuilder::new().exclude(["/trace_id", "/meta/sent_at"])?;
/// // For each request:
/// let of = |body: &[u8]| -> Result<Fingerprint, idemp::CanonicalError> {
///     rules.clone().method("POST").path("/orders").query("b=2&a=1").json(body)
/// };
///
/// let first = of(br#"{"amount":5,"trace_id":"x1","meta":{"sent_at":1}}"#)?;
/// assert_eq!(first, of(br#"{"amount":5,"trace_id":"x2","meta":{"sent_at":2}}"#)?);
/// assert_ne!(first, of(br#"{"amount":6,"trace_id":"x1","meta":{"sent_at":1}}"#)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct FingerprintBuilder {
    numbers: NumberMode,
    strict: bool,
    parts: Vec<Kept>,
    /// The names and values of the parts.
    text: Vec<u8>,
    selected: Vec<Pointer>,
    left_out: Vec<Pointer>,
}

impl FingerprintBuilder {
    /// Nothing but the body counts; numbers are exact; a body without a canonical form is taken
    /// raw.
    #[must_use]
    pub fn new() -> Self {
        Self {
            text: Vec::with_capacity(128), // what most requests need, asked for once
            ..Self::default()
        }
    }

    /// The request method, as it is: methods are case-sensitive (RFC 9110, section 9.1).
    #[must_use]
    pub fn method(self, method: &str) -> Self {
        self.only(Tag::Method, method)
    }

    /// The path, without the query, byte for byte as it is. Nothing is decoded or merged: a
    /// trailing or a doubled slash, a dot segment and a percent-encoding make another path, as
    /// they may for a router.
    #[must_use]
    pub fn path(self, path: &str) -> Self {
        self.only(Tag::Path, path)
    }

    /// The query, without the question mark. Its parameters, split at `&`, are sorted by the bytes
    /// of their names (what stands before the first `=`); those of one name keep their order.
    /// Nothing is decoded: `a`, `a=` and `%61=` differ, `a=1&&b=2` holds an empty parameter, and an
    /// empty query is not a missing one.
    #[must_use]
    pub fn query(mut self, query: &str) -> Self {
        self.parts.retain(|part| part.tag != Tag::Query);
        for parameter in query.split('&') {
            let (name, _) = parameter.split_once('=').unwrap_or((parameter, ""));
            self = self.with(Tag::Query, name, parameter);
        }
        self
    }

    /// The content type. The media type and the names of its parameters are case-insensitive, and
    /// so is the value of `charset` (RFC 9110, section 8.3); other values are not. Parameters are
    /// sorted by name, a quoted value equals the same one without quotes, and white space around
    /// `;` does not count. All parameters do: `application/json; charset=utf-8` is not
    /// `application/json`. What is malformed counts byte for byte.
    #[must_use]
    pub fn content_type(mut self, value: &str) -> Self {
        self.parts
            .retain(|part| !matches!(part.tag, Tag::ContentType | Tag::Parameter));
        match media_type::parse(value) {
            Some((media_type, parameters)) => {
                self = self.with(Tag::ContentType, "", &*media_type);
                for (name, value) in parameters {
                    self = self.with(Tag::Parameter, name, value);
                }
                self
            }
            None => self.with(Tag::ContentType, "?", value),
        }
    }

    /// A header that counts. Names are case-insensitive. Call it once for each value: values of
    /// one name keep their order, and are not joined by commas, split, or trimmed. The order of
    /// different names does not count.
    #[must_use]
    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.with(Tag::Header, name.to_ascii_lowercase(), value)
    }

    /// Anything else that counts, by a name of the application's choice, such as the tenant. Parts
    /// of one name keep their order; the order of different names does not count.
    #[must_use]
    pub fn part(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.with(Tag::Named, name, value)
    }

    /// How numbers of a JSON body count; [`NumberMode::Exact`] unless said otherwise.
    #[must_use]
    pub fn numbers(mut self, mode: NumberMode) -> Self {
        self.numbers = mode;
        self
    }

    /// Whether a JSON body without a canonical form is an error. If not, which is where it starts,
    /// its raw bytes count, whole.
    #[must_use]
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// Only these fields of a JSON body count, each a JSON Pointer (RFC 6901). More calls add more.
    ///
    /// A field that is missing differs from `null` and from every other value; `0`, `false` and
    /// `""` are values like all others. Their order does not count. Fields that are left out are
    /// so inside selected ones too. A body that is taken raw counts whole.
    ///
    /// # Errors
    /// [`PointerError`] where one is not a JSON Pointer, or there is none.
    pub fn select<P: AsRef<str>>(
        mut self,
        pointers: impl IntoIterator<Item = P>,
    ) -> Result<Self, PointerError> {
        for pointer in pointers {
            self.selected.push(Pointer::new(pointer.as_ref())?);
        }
        if self.selected.is_empty() {
            return Err(PointerError::NothingSelected);
        }
        self.selected.sort_unstable();
        self.selected.dedup();
        Ok(self)
    }

    /// These fields of a JSON body do not count: a timestamp, a trace id. Each is a JSON Pointer
    /// (RFC 6901). More calls add more.
    ///
    /// All pointers apply to the body as it came: leaving out `/items/0` does not make the second
    /// item the first for `/items/1`. One that points nowhere leaves out nothing. A body that is
    /// taken raw counts whole.
    ///
    /// # Errors
    /// [`PointerError`] where one is not a JSON Pointer, or names the whole body.
    pub fn exclude<P: AsRef<str>>(
        mut self,
        pointers: impl IntoIterator<Item = P>,
    ) -> Result<Self, PointerError> {
        for pointer in pointers {
            let pointer = Pointer::new(pointer.as_ref())?;
            if pointer.is_whole() {
                return Err(PointerError::Whole);
            }
            self.left_out.push(pointer);
        }
        self.left_out.sort_unstable();
        self.left_out.dedup();
        Ok(self)
    }

    /// The fingerprint with a JSON body. One without a canonical form is taken raw, an empty one as
    /// empty.
    ///
    /// # Errors
    /// [`CanonicalError`] where the body has no canonical form and the builder is
    /// [`strict`](Self::strict); otherwise none.
    pub fn json(&self, body: &[u8]) -> Result<Fingerprint, CanonicalError> {
        if body.is_empty() {
            return Ok(self.empty());
        }
        match self.seal_json(body) {
            Err(_) if !self.strict => Ok(self.seal(Kind::Raw, body)),
            found => found,
        }
    }

    /// The fingerprint with a body that is not JSON: its bytes as they are. An empty one is taken
    /// as empty.
    #[must_use]
    pub fn raw(&self, body: &[u8]) -> Fingerprint {
        let kind = if body.is_empty() {
            Kind::Empty
        } else {
            Kind::Raw
        };
        self.seal(kind, body)
    }

    /// The fingerprint without a body.
    #[must_use]
    pub fn empty(&self) -> Fingerprint {
        self.seal(Kind::Empty, b"")
    }

    fn seal_json(&self, body: &[u8]) -> Result<Fingerprint, CanonicalError> {
        let kind = Kind::from(self.numbers);
        if self.selected.is_empty() && self.left_out.is_empty() {
            return self.with_parts(|parts| Fingerprint::seal_json(self.numbers, parts, body));
        }
        let form = canonical::canonicalize(body, self.numbers)?;
        if self.selected.is_empty() {
            let mut rest = Vec::with_capacity(form.len());
            canonical::leave_out(&form, &self.left_out, &mut rest);
            return Ok(self.seal(kind, &rest));
        }
        let mut with_fields = self.clone();
        for pointer in &self.selected {
            let value = match pointer.select(&form, &self.left_out) {
                Some(value) => [&[1], &*value].concat(),
                None => vec![0],
            };
            with_fields = with_fields.with(Tag::Selected, pointer.as_str(), value);
        }
        Ok(with_fields.seal(kind, b""))
    }

    fn seal(&self, kind: Kind, body: &[u8]) -> Fingerprint {
        self.with_parts(|parts| Fingerprint::seal(kind, parts, body))
    }

    /// The parts in order, with the fields that are left out.
    fn with_parts<T>(&self, seal: impl FnOnce(&[Part<'_>]) -> T) -> T {
        let kept = self.parts.iter().map(|part| Part {
            tag: part.tag,
            name: &self.text[part.name.clone()],
            value: &self.text[part.value.clone()],
        });
        let left_out = self.left_out.iter().map(|pointer| Part {
            tag: Tag::LeftOut,
            name: pointer.as_str().as_bytes(),
            value: b"",
        });
        let mut parts: Vec<Part<'_>> = kept.chain(left_out).collect();
        // Stable: what has one name keeps its order.
        parts.sort_by_key(|part| (part.tag, part.name));
        seal(&parts)
    }

    /// Adds the one part of its kind; the last one said stands.
    fn only(mut self, tag: Tag, value: &str) -> Self {
        self.parts.retain(|part| part.tag != tag);
        self.with(tag, "", value)
    }

    fn with(mut self, tag: Tag, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        let (name, value) = (self.keep(name.as_ref()), self.keep(value.as_ref()));
        self.parts.push(Kept { tag, name, value });
        self
    }

    fn keep(&mut self, text: &[u8]) -> Range<usize> {
        let start = self.text.len();
        self.text.extend_from_slice(text);
        start..self.text.len()
    }
}

/// A part, and where its name and its value are.
#[derive(Clone)]
struct Kept {
    tag: Tag,
    name: Range<usize>,
    value: Range<usize>,
}

/// Shows the rules, and of the parts only how many there are.
impl fmt::Debug for FingerprintBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = |pointers: &[Pointer]| -> Vec<String> {
            pointers.iter().map(|p| p.as_str().to_owned()).collect()
        };
        f.debug_struct("FingerprintBuilder")
            .field("numbers", &self.numbers)
            .field("strict", &self.strict)
            .field("parts", &self.parts.len())
            .field("select", &texts(&self.selected))
            .field("exclude", &texts(&self.left_out))
            .finish()
    }
}
