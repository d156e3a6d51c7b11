//! What holds for every document, on random ones.

use idemp::{CanonicalErrorKind, NumberMode, canonicalize};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use std::collections::BTreeMap;

const MODES: [NumberMode; 3] = [
    NumberMode::Exact,
    NumberMode::Rfc8785,
    NumberMode::Rfc8785Strict,
];

/// A document as data. Numbers are in canonical form, names unique.
#[derive(Debug, Clone, PartialEq)]
enum Json {
    Null,
    Bool(bool),
    Number(String),
    String(String),
    Array(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

/// Characters from all the places where escapes, UTF-8 lengths and UTF-16 order differ.
fn text() -> impl Strategy<Value = String> {
    let char = prop_oneof![
        6 => proptest::char::range('a', 'e'),
        2 => proptest::char::range('\0', '\u{7f}'),
        1 => proptest::char::range('\u{80}', '\u{7ff}'),
        1 => proptest::char::range('\u{d7f0}', '\u{d7ff}'),
        1 => proptest::char::range('\u{e000}', '\u{ffff}'),
        1 => proptest::char::range('\u{10000}', '\u{10ffff}'),
    ];
    vec(char, 0..20).prop_map(|chars| chars.into_iter().collect())
}

fn number() -> impl Strategy<Value = String> {
    let literal = prop_oneof![
        any::<i32>().prop_map(|n| n.to_string()),
        any::<u64>().prop_map(|n| n.to_string()),
        any::<f64>()
            .prop_filter("JSON has no other", |n| n.is_finite())
            .prop_map(|n| format!("{n:e}")),
        literal(),
    ];
    literal.prop_map(|literal| exact(literal.as_bytes()).unwrap())
}

/// Any number that JSON allows, with a small exponent.
fn literal() -> impl Strategy<Value = String> {
    "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?"
}

fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        number().prop_map(Json::Number),
        text().prop_map(Json::String),
    ];
    leaf.prop_recursive(5, 80, 30, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Json::Array),
            btree_map(text(), inner.clone(), 0..8).prop_map(Json::Object),
            // More than are sorted by counting.
            btree_map(text(), inner, 20..40).prop_map(Json::Object),
        ]
    })
}

/// Choices of a printer, made by a random word.
struct Printer {
    random: u64,
    out: String,
}

impl Printer {
    fn print(json: &Json, seed: u64) -> String {
        let mut printer = Self {
            random: seed | 1,
            out: String::new(),
        };
        printer.value(json);
        printer.out
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 8) % end
    }

    fn white(&mut self) {
        for _ in 0..self.below(12).saturating_sub(8) {
            let white = [' ', '\n', '\r', '\t'][self.below(4) as usize];
            self.out.push(white);
        }
    }

    fn value(&mut self, json: &Json) {
        self.white();
        match json {
            Json::Null => self.out += "null",
            Json::Bool(value) => self.out += if *value { "true" } else { "false" },
            Json::Number(canonical) => self.number(canonical),
            Json::String(text) => self.string(text),
            Json::Array(elements) => {
                self.out.push('[');
                for (at, element) in elements.iter().enumerate() {
                    if at > 0 {
                        self.out.push(',');
                    }
                    self.value(element);
                }
                self.white();
                self.out.push(']');
            }
            Json::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                if self.below(4) > 0 {
                    for at in 1..members.len() {
                        let other = self.below(at as u64 + 1) as usize;
                        members.swap(at, other);
                    }
                }
                self.out.push('{');
                for (at, (name, value)) in members.into_iter().enumerate() {
                    if at > 0 {
                        self.out.push(',');
                    }
                    self.white();
                    self.string(name);
                    self.white();
                    self.out.push(':');
                    self.value(value);
                }
                self.white();
                self.out.push('}');
            }
        }
        self.white();
    }

    fn number(&mut self, canonical: &str) {
        self.out += canonical;
        let has = |char| canonical.contains(char);
        match self.below(4) {
            0 if !has('e') && !has('.') => self.out += ".00",
            1 if !has('e') => self.out += "e-0",
            2 if !has('e') => self.out += "E+00",
            3 if !has('e') && has('.') => self.out += "0",
            _ => {}
        }
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        let often = self.below(2) == 0;
        for char in text.chars() {
            let short = match char {
                '"' => Some('"'),
                '\\' => Some('\\'),
                '/' => Some('/'),
                '\u{8}' => Some('b'),
                '\u{c}' => Some('f'),
                '\n' => Some('n'),
                '\r' => Some('r'),
                '\t' => Some('t'),
                _ => None,
            };
            let must = char < ' ' || char == '"' || char == '\\';
            let want = must || (often && self.below(4) == 0);
            match short {
                _ if !want => self.out.push(char),
                Some(letter) if self.below(2) == 0 => self.out.extend(['\\', letter]),
                _ => {
                    for unit in char.encode_utf16(&mut [0; 2]) {
                        let escape = match self.below(2) {
                            0 => format!("\\u{unit:04x}"),
                            _ => format!("\\u{unit:04X}"),
                        };
                        self.out += &escape;
                    }
                }
            }
        }
        self.out.push('"');
    }
}

fn exact(text: &[u8]) -> Result<String, CanonicalErrorKind> {
    canonical(text, NumberMode::Exact)
}

fn canonical(text: &[u8], mode: NumberMode) -> Result<String, CanonicalErrorKind> {
    match canonicalize(text, mode) {
        Ok(form) => Ok(String::from_utf8(form.into_owned()).unwrap()),
        Err(error) => {
            assert!(error.offset() <= text.len());
            Err(error.kind())
        }
    }
}

/// The canonical form as RFC 8785 describes it, by other means: names are sorted as UTF-16.
fn by_definition(json: &Json, out: &mut String) {
    match json {
        Json::Array(elements) => {
            out.push('[');
            for (at, element) in elements.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                by_definition(element, out);
            }
            out.push(']');
        }
        Json::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| name.encode_utf16().collect::<Vec<u16>>());
            out.push('{');
            for (at, (name, value)) in members.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                // serde_json writes strings as RFC 8785 does.
                *out += &serde_json::to_string(name).unwrap();
                out.push(':');
                by_definition(value, out);
            }
            out.push('}');
        }
        Json::String(text) => *out += &serde_json::to_string(text).unwrap(),
        Json::Number(canonical) => *out += canonical,
        Json::Bool(value) => *out += if *value { "true" } else { "false" },
        Json::Null => *out += "null",
    }
}

/// Changes one value somewhere in the document.
fn change(json: &mut Json, path: u64) {
    let step = |len: usize| (path % len as u64) as usize;
    match json {
        Json::Array(elements) if !elements.is_empty() => {
            let at = step(elements.len());
            change(&mut elements[at], path / 7);
        }
        Json::Object(members) if !members.is_empty() => {
            let at = step(members.len());
            change(members.values_mut().nth(at).unwrap(), path / 7);
        }
        Json::Null => *json = Json::Bool(false),
        Json::Bool(value) => *value = !*value,
        Json::Number(canonical) => {
            let mut changed = canonical.clone().into_bytes();
            let at = changed.iter().position(u8::is_ascii_digit).unwrap();
            changed[at] = if changed[at] == b'1' { b'2' } else { b'1' };
            let changed = exact(&changed).unwrap();
            *json = Json::Number(changed);
        }
        Json::String(text) => match path % 3 {
            0 => text.push('\0'),
            1 => text.push('\u{10ffff}'),
            _ => *json = Json::Array(vec![]),
        },
        Json::Array(_) => *json = Json::Object(BTreeMap::new()),
        Json::Object(_) => *json = Json::Null,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_form_is_that_of_the_definition_however_it_is_printed(json in json(), seed: u64) {
        let mut expected = String::new();
        by_definition(&json, &mut expected);
        let printed = Printer::print(&json, seed);
        prop_assert_eq!(exact(printed.as_bytes()), Ok(expected), "{}", printed);
    }

    #[test]
    fn printing_the_same_data_in_another_way_changes_nothing(json in json(), one: u64, two: u64) {
        let (one, two) = (Printer::print(&json, one), Printer::print(&json, two));
        for mode in MODES {
            // Which of two numbers out of range is found first is another matter.
            let (one, two) = (canonical(one.as_bytes(), mode), canonical(two.as_bytes(), mode));
            prop_assert_eq!(one.ok(), two.ok());
        }
    }

    #[test]
    fn changing_any_value_changes_the_form(json in json(), path: u64, seed: u64) {
        let mut changed = json.clone();
        change(&mut changed, path);
        prop_assert_ne!(&json, &changed);
        let (json, changed) = (Printer::print(&json, seed), Printer::print(&changed, seed));
        prop_assert_ne!(exact(json.as_bytes()), exact(changed.as_bytes()));
    }

    #[test]
    fn canonicalising_twice_changes_nothing(json in json(), seed: u64) {
        let printed = Printer::print(&json, seed);
        for mode in MODES {
            if let Ok(once) = canonical(printed.as_bytes(), mode) {
                prop_assert_eq!(canonical(once.as_bytes(), mode), Ok(once));
            }
        }
    }

    #[test]
    fn rfc_8785_of_the_exact_form_is_rfc_8785_of_the_text(json in json(), seed: u64) {
        let printed = Printer::print(&json, seed);
        let exact = exact(printed.as_bytes()).unwrap();
        for mode in MODES {
            let of_exact = canonical(exact.as_bytes(), mode);
            prop_assert_eq!(of_exact.ok(), canonical(printed.as_bytes(), mode).ok());
        }
    }

    #[test]
    fn all_modes_agree_on_what_a_printer_of_shortest_doubles_wrote(bits: u64) {
        let value = f64::from_bits(bits);
        prop_assume!(value.is_finite());
        let printed = serde_json::to_string(&value).unwrap();
        for mode in MODES {
            prop_assert_eq!(canonical(printed.as_bytes(), mode), exact(printed.as_bytes()));
        }
    }

    #[test]
    fn all_modes_agree_on_fifteen_digits(
        digits in "[1-9][0-9]{0,14}", exponent in -290i32..290, negative: bool,
    ) {
        let sign = if negative { "-" } else { "" };
        let literal = format!("{sign}{digits}e{exponent}");
        for mode in MODES {
            prop_assert_eq!(canonical(literal.as_bytes(), mode), exact(literal.as_bytes()));
        }
    }

    #[test]
    fn a_number_is_the_double_that_std_reads(literal in literal()) {
        let value: f64 = literal.parse().unwrap();
        match canonical(literal.as_bytes(), NumberMode::Rfc8785) {
            Ok(form) => {
                let again: f64 = form.parse().unwrap();
                prop_assert!(again == value, "{} {}", literal, form);
                let theirs = serde_json_canonicalizer::to_string(&value).unwrap();
                prop_assert_eq!(form, theirs);
            }
            Err(kind) => {
                prop_assert_eq!(kind, CanonicalErrorKind::NumberRange);
                prop_assert!(value.is_infinite());
            }
        }
    }

    #[test]
    fn strict_integers_never_collapse(one in 1u64 << 53.., apart in 1u64..2000) {
        let one = one.min(u64::MAX - 2000);
        let strict = |n: u64| canonical(n.to_string().as_bytes(), NumberMode::Rfc8785Strict);
        if let (Ok(one), Ok(two)) = (strict(one), strict(one + apart)) {
            prop_assert_ne!(one, two);
        }
        if let Ok(form) = strict(one) {
            prop_assert_eq!(form, one.to_string());
        }
    }

    #[test]
    fn another_implementation_agrees(json in json(), seed: u64) {
        let printed = Printer::print(&json, seed);
        // Its reader is not exact about floats that are not at hand, so it gets shortest ones.
        let Ok(ours) = canonical(printed.as_bytes(), NumberMode::Rfc8785) else { return Ok(()) };
        let value: serde_json::Value = serde_json::from_str(&ours).unwrap();
        let theirs = serde_json_canonicalizer::to_string(&value).unwrap();
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn any_bytes_are_accepted_as_json_exactly_where_another_parser_does(
        mut text in json().prop_map(|json| Printer::print(&json, 5).into_bytes()),
        edits in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        for (at, byte) in edits {
            let at = at.index(text.len());
            text[at] = byte;
        }
        let theirs = serde_json::from_slice::<serde_json::Value>(&text);
        match canonicalize(&text, NumberMode::Rfc8785) {
            // serde_json has doubles only, and takes what is beyond them for an error too.
            Ok(_) => prop_assert!(theirs.is_ok(), "{:?}", String::from_utf8_lossy(&text)),
            Err(error) => {
                let ours_alone = matches!(
                    error.kind(),
                    CanonicalErrorKind::Duplicate | CanonicalErrorKind::NumberRange
                );
                prop_assert!(
                    ours_alone || theirs.is_err(),
                    "{} {:?}", error, String::from_utf8_lossy(&text)
                );
            }
        }
    }
}
