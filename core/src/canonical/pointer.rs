//! JSON Pointers (RFC 6901), applied to canonical text.

use std::ops::Range;

use thiserror::Error;

use super::scan;

/// A place in a JSON text. The empty one names the whole.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pointer {
    text: String,
    steps: Vec<Step>,
}

/// One step down, into an object or an array.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    /// The name as it stands in canonical text, with its quotes.
    name: Vec<u8>,
    index: Option<usize>,
}

impl Pointer {
    /// Reads a pointer.
    pub(crate) fn new(text: &str) -> Result<Self, PointerError> {
        let mut steps = Vec::new();
        if let Some(rest) = text.strip_prefix('/') {
            for step in rest.split('/') {
                steps.push(Step::new(step)?);
            }
        } else if !text.is_empty() {
            return Err(PointerError::Slash);
        }
        Ok(Self {
            text: text.to_owned(),
            steps,
        })
    }

    /// The pointer as it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it names the whole text.
    pub(crate) fn is_whole(&self) -> bool {
        self.steps.is_empty()
    }

    /// The value that it names in a canonical text, without what `left_out` names in it; nothing
    /// where there is none, or it is left out itself. All pointers name places in the whole text.
    pub(crate) fn select(&self, canonical: &[u8], left_out: &[Self]) -> Option<Vec<u8>> {
        let depth = self.steps.len();
        let mut inside = Vec::new();
        for other in left_out {
            if self.steps.starts_with(&other.steps) {
                return None;
            }
            if other.steps.starts_with(&self.steps) {
                inside.push(other);
            }
        }
        let mut at = 0;
        for step in &self.steps {
            let item = Items::new(canonical, at).find(|item| step.names(item))?;
            at = item.value.start;
        }
        let mut value = Vec::new();
        copy_without(canonical, at, depth, &inside, &mut value);
        Some(value)
    }
}

impl Step {
    fn new(escaped: &str) -> Result<Self, PointerError> {
        let mut parts = escaped.split('~');
        let mut step = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            match part.as_bytes().first() {
                Some(b'0') => step.push('~'),
                Some(b'1') => step.push('/'),
                _ => return Err(PointerError::Escape),
            }
            step.push_str(&part[1..]);
        }
        let mut name = Vec::with_capacity(step.len() + 2);
        super::write_string(&step, &mut name);
        let digits = !step.is_empty() && step.bytes().all(|b| b.is_ascii_digit());
        let index = (digits && (step == "0" || !step.starts_with('0')))
            .then(|| step.parse().ok())
            .flatten();
        Ok(Self { name, index })
    }

    fn names(&self, item: &Item<'_>) -> bool {
        match item.name {
            Some(name) => name == self.name,
            None => self.index == Some(item.index),
        }
    }
}

/// Appends a canonical text to `out` without the members and elements that the pointers name. Each
/// names its place in the whole text, so that leaving out one element moves no other. None of the
/// pointers may name the whole.
pub(crate) fn leave_out(canonical: &[u8], pointers: &[Pointer], out: &mut Vec<u8>) {
    let pointers: Vec<&Pointer> = pointers.iter().collect();
    copy_without(canonical, 0, 0, &pointers, out);
}

/// Copies the value at `at`, which lies `depth` steps down on the way of all the pointers. Nests no
/// deeper than the text does.
fn copy_without(text: &[u8], at: usize, depth: usize, pointers: &[&Pointer], out: &mut Vec<u8>) {
    let (open, close) = match text[at] {
        b'{' => (b'{', b'}'),
        b'[' => (b'[', b']'),
        _ => (0, 0),
    };
    if open == 0 || pointers.is_empty() {
        out.extend_from_slice(&text[at..value_end(text, at)]);
        return;
    }
    out.push(open);
    let empty = out.len();
    for item in Items::new(text, at) {
        let further: Vec<&Pointer> = pointers
            .iter()
            .copied()
            .filter(|pointer| pointer.steps[depth].names(&item))
            .collect();
        if further
            .iter()
            .any(|pointer| pointer.steps.len() == depth + 1)
        {
            continue;
        }
        if out.len() > empty {
            out.push(b',');
        }
        if further.is_empty() {
            out.extend_from_slice(&text[item.start..item.value.end]);
        } else {
            out.extend_from_slice(&text[item.start..item.value.start]);
            copy_without(text, item.value.start, depth + 1, &further, out);
        }
    }
    out.push(close);
}

/// A member or an element of a canonical text.
struct Item<'a> {
    name: Option<&'a [u8]>,
    index: usize,
    start: usize,
    value: Range<usize>,
}

/// The members or elements of the value at a place; none where it is a scalar.
struct Items<'a> {
    text: &'a [u8],
    object: bool,
    index: usize,
    /// The next item or, behind the last one, the closing bracket.
    at: usize,
    over: bool,
}

impl<'a> Items<'a> {
    fn new(text: &'a [u8], at: usize) -> Self {
        let object = text[at] == b'{';
        let scalar = !object && text[at] != b'[';
        Self {
            text,
            object,
            index: 0,
            at: at + 1,
            over: scalar || matches!(text[at + 1], b'}' | b']'),
        }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        if self.over {
            return None;
        }
        let start = self.at;
        let (name, value) = if self.object {
            let end = value_end(self.text, start);
            (Some(&self.text[start..end]), end + 1)
        } else {
            (None, start)
        };
        let end = value_end(self.text, value);
        let index = self.index;
        self.over = self.text[end] != b',';
        self.at = end + 1;
        self.index += 1;
        Some(Item {
            name,
            index,
            start,
            value: value..end,
        })
    }
}

/// The end of the value at `at` in a canonical text.
fn value_end(text: &[u8], mut at: usize) -> usize {
    let mut depth = 0usize;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => at = string_end(text, at + 1),
            b'{' | b'[' => {
                depth += 1;
                at += 1;
                continue;
            }
            b'}' | b']' => {
                depth -= 1;
                at += 1;
            }
            b',' | b':' => {
                at += 1;
                continue;
            }
            _ => {
                let rest = text[at..].iter();
                at += rest
                    .take_while(|b| !matches!(b, b',' | b']' | b'}'))
                    .count();
            }
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Where a string ends, behind its quote.
fn string_end(text: &[u8], mut at: usize) -> usize {
    loop {
        at = scan::string_end(text, at);
        match text.get(at) {
            Some(b'\\') => at += 2,
            _ => return at + 1,
        }
    }
}

/// Why a JSON Pointer was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PointerError {
    /// RFC 6901, section 3.
    #[error("a json pointer is empty or starts with a slash")]
    Slash,
    /// RFC 6901, section 3.
    #[error("a tilde in a json pointer is followed by 0 or 1")]
    Escape,
    /// The pointer to leave out names the whole body, which would make all bodies one.
    #[error("the whole body cannot be left out")]
    Whole,
    /// A selection of no fields, which would make all bodies one.
    #[error("a selection names at least one field")]
    NothingSelected,
}
